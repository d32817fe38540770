//! The reading of scenarios, and the waits that the laws of latency give.

use std::path::Path;
use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::{Latency, Scenario};

fn refused(text: &str) -> String {
    Scenario::parse(text, Path::new("faults.yaml"))
        .unwrap_err()
        .to_string()
}

#[test]
fn every_mistake_has_its_place() {
    let rule = |when: &str, fault: &str| {
        format!("seed: 1\nrules:\n  - when: {when}\n    fault: {fault}\n")
    };
    let good = "{ token: expired }";
    let cases = [
        (
            "rule: []".to_owned(),
            "faults.yaml:1:1: unknown field `rule`",
        ),
        (
            rule("{ probability: 2 }", good),
            "faults.yaml:3:26: rules[0].when",
        ),
        (
            rule("{ method: FETCH }", good),
            "faults.yaml:3:21: rules[0].when.method",
        ),
        (
            rule("{ request: [bundle, look] }", good),
            "faults.yaml:3:31: rules[0].when.request[1]",
        ),
        (
            rule("{}", "{ latency: { fixed: 3 parsecs } }"),
            "faults.yaml:4:32: rules[0].fault.latency.fixed",
        ),
        (
            rule("{}", "{ latency: { uniform: [2s, 1s] } }"),
            "faults.yaml:4:12: rules[0].fault: a latency is",
        ),
        (
            rule("{}", "{ answer: { status: 99 } }"),
            "faults.yaml:4:32: rules[0].fault.answer.status",
        ),
        (
            rule("{}", "{ quota: { rate: fast } }"),
            "faults.yaml:4:29: rules[0].fault.quota.rate",
        ),
        (
            rule("{}", "{}"),
            "faults.yaml:3:5: rules[0]: a fault is missing",
        ),
        (
            rule("{}", "{ truncate: 0.5, reset: before_body }"),
            "faults.yaml:3:5: rules[0]: a rule has one fault",
        ),
        ("rules: [".to_owned(), "faults.yaml:"),
    ];
    for (text, expected) in cases {
        let error = refused(&text);
        assert!(error.starts_with(expected), "{text}\n{error}");
        assert!(!error.contains(" at line "), "{error}");
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Scenario::read(Path::new("/nowhere/faults.yaml")).unwrap_err();
    assert!(
        error.to_string().contains("/nowhere/faults.yaml"),
        "{error}"
    );
}

#[test]
fn the_example_of_the_documentation_is_read() {
    let docs = include_str!("mod.rs");
    let yaml: String = docs
        .lines()
        .skip_while(|line| *line != "//! ```yaml")
        .skip(1)
        .take_while(|line| *line != "//! ```")
        .map(|line| line.strip_prefix("//! ").unwrap_or_default().to_owned() + "\n")
        .collect();
    // It shows every fault under one rule; each of them alone is a scenario.
    let (rule, faults) = yaml.split_once("    fault:").unwrap();
    let faults: Vec<&str> = faults
        .lines()
        .skip(1)
        .map(|line| line.split('#').next().unwrap_or_default().trim_end())
        .filter(|line| !line.is_empty())
        .collect();
    assert_eq!(faults.len(), 10);
    for fault in faults {
        let text = format!("{rule}    fault:\n{fault}\n");
        Scenario::parse(&text, Path::new("docs")).unwrap();
    }
}

#[test]
fn latencies_follow_their_laws() {
    const DRAWS: usize = 4000;
    let ms = Duration::from_millis;
    let draws = |latency: Latency| {
        let mut chance = StdRng::seed_from_u64(5);
        let mut draws: Vec<f64> = (0..DRAWS)
            .map(|_| latency.draw(&mut chance).as_secs_f64() * 1000.0)
            .collect();
        draws.sort_by(f64::total_cmp);
        let mean = draws.iter().sum::<f64>() / DRAWS as f64;
        (draws[0], draws[DRAWS / 2], draws[DRAWS - 1], mean)
    };
    let near = |found: f64, expected: f64| (found / expected - 1.0).abs() < 0.08;

    let (least, _, most, _) = draws(Latency::Fixed(ms(20)));
    assert!(near(least, 20.0) && near(most, 20.0));

    let (least, _, most, mean) = draws(Latency::Uniform(ms(10), ms(50)));
    assert!(least >= 10.0 && most <= 50.0 && near(mean, 30.0));

    let (_, median, _, mean) = draws(Latency::Exponential { mean: ms(30) });
    assert!(near(mean, 30.0) && near(median, 30.0 * std::f64::consts::LN_2));

    let sigma = 0.6;
    let (least, median, _, mean) = draws(Latency::Lognormal {
        median: ms(30),
        sigma,
    });
    assert!(
        least > 0.0 && near(median, 30.0) && near(mean, 30.0 * (sigma * sigma / 2.0_f64).exp())
    );
}
