//! Builds the application's image: runs one round, then keeps or revokes what Vault granted in it.

use crate::check;
use crate::error::Errors;
use crate::handover;
use crate::http::deadline::Deadline;
use crate::job::Job;
use crate::output::print;
use crate::process::exec::Image;
use crate::round::{Round, round};
use crate::supervise::starting::Starting;

/// Fetches what the application needs and builds its image. Returns `None` if this was only a
/// check. Grants that nobody needs are revoked. If there is a supervisor, it is told about the
/// grants.
///
/// # Errors
/// Every failure of the round, and of the image.
pub(crate) async fn image(
    job: &Job,
    deadline: Deadline,
    starting: Option<&Starting>,
) -> Result<Option<Image>, Errors> {
    let mut round = round(job, deadline).await?;
    let report = job
        .is_check
        .then(|| check::report(&round.built, &job.plan, &round.outcomes, &job.settings.files));
    // This happens while the client still exists, so that a start that cannot become the
    // application can still revoke.
    let image = match (built(job, &mut round, starting), report) {
        (Ok(image), None) => image,
        (image, report) => {
            round.undo(job).await;
            image?;
            print(&report.unwrap_or_else(|| Ok(String::new()))?)?;
            return Ok(None);
        }
    };
    let is_kept = match starting {
        Some(starting) => starting.report(job, &round).await,
        None => Ok(false),
    };
    match is_kept {
        Ok(true) => round.keep(),
        Ok(false) => round.settle(job).await,
        Err(errors) => {
            round.undo(job).await;
            return Err(errors);
        }
    }
    Ok(Some(image))
}

fn built(job: &Job, round: &mut Round, starting: Option<&Starting>) -> Result<Image, Errors> {
    let built = std::mem::take(&mut round.built);
    if job.is_check {
        let variables = handover::without_files(&built.files, built.variables)?;
        return Image::new(job.program(&variables)?, job.command.clone(), variables);
    }
    let (mut variables, files) = handover::hand_over(built, job.access, job.directory.as_deref())?;
    if let Some(starting) = starting {
        starting.name_application(&mut variables);
    }
    let image = Image::new(job.program(&variables)?, job.command.clone(), variables)?;
    // After this there is nothing left to revoke with.
    if job.login.is_some() {
        image.check()?;
    }
    files.put()?;
    Ok(image)
}
