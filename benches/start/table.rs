//! Tables in Markdown.

/// A title, the names of the columns, and the rows.
pub(crate) fn table(title: &str, columns: &[&str], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let head: Vec<String> = columns.iter().map(ToString::to_string).collect();
    let rule = vec!["---".to_owned(); columns.len()];
    let rows = rows.iter().map(|row| line(row)).collect::<Vec<_>>().concat();
    format!("### {title}\n\n{}{}{rows}", line(&head), line(&rule))
}

/// Milliseconds.
pub(crate) fn ms(time: f64) -> String {
    if time < 100.0 { format!("{time:.2} ms") } else { format!("{time:.0} ms") }
}
