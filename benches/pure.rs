//! The parts that do no I/O: what a reference is, what is to be fetched, what an answer means, and
//! the new environment.
//!
//! `cargo bench --package vault-exec-benches --bench pure`, with criterion's options behind `--`.

#![allow(missing_docs, reason = "criterion's macros make public functions")]

use std::hint::black_box;
use std::rc::Rc;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use serde_json::{Map, Value};
use vault_exec::door::environment::{self, Outcomes, Rules};
use vault_exec::door::grammar::env_file;
use vault_exec::door::grammar::reference;
use vault_exec::door::http::answers::Budget;
use vault_exec::door::http::redact::Redactor;
use vault_exec::door::plan::{self, Plan};
use vault_exec::door::secret::Variable;
use vault_exec::door::settings::layers::{Layers, Options};
use vault_exec::door::settings::{self, Settings};
use vault_exec::door::vault::answer::{Raw, Verdict, judge};
use vault_exec::door::vault::document::{Document, Found};

/// How many references a start has.
const SIZES: [usize; 4] = [1, 10, 100, 1000];

/// An environment with this many references, ten to a secret, among as many other variables.
fn variables(references: usize) -> Vec<Variable> {
    let pair = |number: usize| {
        let reference = format!("vault:secret/data/s{}#k{}", number / 10, number % 10);
        [
            Variable::new(format!("SECRET_{number}"), reference.into_bytes()),
            Variable::new(format!("PLAIN_{number}"), b"a value of the application's".to_vec()),
        ]
    };
    (0..references).flat_map(pair).collect()
}

fn planned(environment: &[Variable]) -> (Settings, Plan) {
    let options = Options::default();
    let settings = settings::understand(&Layers { options: &options, environment, files: &[] })
        .expect("settings");
    let plan = plan::make(&settings, environment, &[]).expect("a plan");
    (settings, plan)
}

/// What came of each request of a plan.
fn outcomes(plan: &Plan) -> Outcomes {
    let data: Map<String, Value> =
        (0..10).map(|key| (format!("k{key}"), "s3cret".into())).collect();
    let found = || Found { document: Document::new(data.clone()), version: Some(1), lease: None };
    let answers = plan.requests.iter().map(|(id, _)| (id, Rc::new(Ok(found())))).collect();
    Outcomes { answers, ..Outcomes::default() }
}

fn references(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("reference");
    for (name, text) in [
        ("literal", "postgres://db:5432/app?sslmode=require"),
        ("value", "vault:secret/data/app#password"),
        (
            "text",
            "postgres://${vault:secret/data/db#user}:${vault:secret/data/db#password}@db:5432/app",
        ),
        ("template", "vault:secret/data/app#${.certificate | b64dec}"),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| reference::parse(black_box(text.as_bytes())));
        });
    }
}

fn plans(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("plan");
    for size in SIZES {
        let environment = variables(size);
        let (settings, _) = planned(&environment);
        group.bench_with_input(
            BenchmarkId::from_parameter(size),
            &environment,
            |bencher, environment| {
                bencher.iter(|| plan::make(&settings, black_box(environment), &[]));
            },
        );
    }
}

fn environments(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("environment");
    for size in SIZES {
        let environment = variables(size);
        let (settings, plan) = planned(&environment);
        let rules = Rules { ignore_missing: false, naming: settings.naming };
        let outcomes = outcomes(&plan);
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter_batched(
                || planned(&environment).1,
                |plan| environment::build(&plan, &outcomes, rules),
                BatchSize::SmallInput,
            );
        });
    }
}

fn answers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("answer");
    for keys in [1, 100] {
        let data: Map<String, Value> =
            (0..keys).map(|key| (format!("key-{key}"), "s3cret".into())).collect();
        let body = serde_json::json!({ "data": { "data": data, "metadata": { "version": 1 } } })
            .to_string();
        group.bench_function(BenchmarkId::from_parameter(keys), |bencher| {
            bencher.iter(|| {
                let raw = Raw { status: 200, retry_after: None, bytes: black_box(body.as_bytes()) };
                match judge(&raw, &Redactor::default(), &Budget::default()) {
                    Verdict::Answered(answer) => answer,
                    _ => unreachable!("it is Vault's"),
                }
            });
        });
    }
}

fn files(criterion: &mut Criterion) {
    let lines: String = (0..100)
        .map(|number| format!("export NAME_{number}=\"a value\" # {number}\n"))
        .collect::<Vec<_>>()
        .concat();
    criterion.bench_function("env file", |bencher| {
        bencher.iter(|| env_file::parse(black_box(lines.as_bytes())));
    });
}

criterion_group!(pure, references, plans, environments, answers, files);
criterion_main!(pure);
