//! Carries out batches and transactions.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{
    answer::{self, Reply},
    habit::{Answer, Conditions, Errors, Habits, Order, Throttle},
    server::Inside,
    store::{Done, Refused, Store, Write, links, references},
};

/// Carries a Bundle out and answers it.
pub(super) fn carry_out(inside: &mut Inside, bundle: &Value) -> Reply {
    let habits = inside.habits;
    let kind = bundle["type"].as_str().unwrap_or_default();
    if !habits.takes.contains(&kind) {
        let refused = Refused::new(405, "not-supported", format!("no {kind} here"));
        return Reply::of_refusal(&refused);
    }
    let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
    if let Some((most, status)) = habits.entries
        && entries.len() > most
    {
        return Reply::of_refusal(&Refused::new(status, "invalid", "too many entries"));
    }
    let mut writes: Vec<Write> = entries.iter().map(write_of).collect();
    let mut conditions: Vec<Option<String>> = writes
        .iter()
        .map(|write| {
            let query = write.if_none_exist.as_ref()?;
            Some(format!("{}?{query}", write.url))
        })
        .collect();
    let before = inside.store.clone();
    let is_transaction = kind == "transaction";
    if is_transaction && let Err(refused) = link(&habits, &mut inside.store, &entries, &mut writes)
    {
        inside.store = before;
        return Reply::of_refusal(&refused);
    }
    let order = order(habits.order, &writes);
    let mut results: Vec<(usize, Result<Done, Refused>)> = Vec::new();
    let fills = match habits.throttle {
        Throttle::FillsBundle(every)
            if !is_transaction && inside.writes.is_multiple_of(every) && writes.len() > 1 =>
        {
            writes.len() / 2
        }
        _ => writes.len(),
    };
    // In a transaction everything is there at once.
    let late_check = is_transaction && habits.atomic;
    let mut lenient = habits;
    if late_check {
        lenient.integrity = None;
    }
    for (nth, &at) in order.iter().enumerate() {
        if nth >= fills {
            results.push((at, Err(Refused::new(429, "throttled", "slow down"))));
            continue;
        }
        if matches!(habits.throttle, Throttle::Raced(_))
            && !is_transaction
            && nth == 0
            && order.len() > 1
        {
            results.push((at, Err(Refused::raced())));
            continue;
        }
        let result = inside.store.write(&lenient, &writes[at]);
        if let Err(refused) = &result
            && (habits.errors == Errors::EndTheCall || is_transaction && habits.atomic)
        {
            if habits.atomic {
                inside.store = before;
            }
            return Reply::of_refusal(refused);
        }
        results.push((at, result));
    }
    if late_check && let Err(refused) = check(&habits, &inside.store, &writes) {
        inside.store = before;
        return Reply::of_refusal(&refused);
    }
    let mut seen = BTreeSet::new();
    let mut answers = Vec::new();
    for (at, result) in &results {
        if habits.answer == Answer::Merged
            && let Some(condition) = conditions[*at].take()
            && !seen.insert(condition)
        {
            continue;
        }
        let mut answer = match result {
            Ok(done) => answer::entry(&habits, &inside.base, done),
            Err(refused) => answer::refused_entry(&habits, refused),
        };
        if habits.answer == Answer::NoResponse && result.is_ok() {
            answer.as_object_mut().unwrap().remove("response");
        }
        answers.push(answer);
    }
    match habits.order {
        Order::Reversed => answers.reverse(),
        Order::Rotated if !answers.is_empty() => answers.rotate_left(1),
        _ => {}
    }
    let outcome = Refused::new(200, "not-supported", "Prefer is not known here").outcome("warning");
    match habits.answer {
        Answer::OutcomeFirst => answers.insert(0, json!({ "resource": outcome })),
        Answer::ExtraLast => {
            let refused = Refused::new(405, "not-supported", "not here");
            answers.push(answer::refused_entry(&habits, &refused));
        }
        Answer::Html => return Reply::page(200),
        _ => {}
    }
    let has_failed = results.iter().any(|(_, result)| result.is_err());
    let is_failed_batch = has_failed && !is_transaction;
    Reply::json(
        if is_failed_batch {
            habits.batch_status
        } else {
            200
        },
        &json!({"resourceType": "Bundle", "type": format!("{kind}-response"), "entry": answers}),
    )
}

fn write_of(entry: &Value) -> Write {
    let request = &entry["request"];
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Write {
        method: text(&request["method"]).unwrap_or_default(),
        url: text(&request["url"]).unwrap_or_default(),
        resource: entry["resource"].clone(),
        if_none_exist: text(&request["ifNoneExist"]),
        if_match: text(&request["ifMatch"]),
        is_entry: true,
        reserved: None,
    }
}

/// Gives what a transaction creates its ids, and its references their targets.
fn link(
    habits: &Habits,
    store: &mut Store,
    entries: &[Value],
    writes: &mut [Write],
) -> Result<(), Refused> {
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    let mut created: BTreeMap<String, String> = BTreeMap::new();
    for (entry, write) in entries.iter().zip(writes.iter_mut()) {
        let kind = write.url.split(['?', '/']).next().unwrap_or_default();
        let name = match write.method.as_str() {
            "POST" => {
                let query = write.if_none_exist.as_deref();
                let query = query.filter(|_| habits.conditions == Conditions::Honoured);
                let hits = query.map(|query| store.search(kind, query));
                let again = query.and_then(|query| created.get(&format!("{kind}?{query}")));
                let id = match (hits.as_deref(), again) {
                    (Some([id]), _) | (_, Some(id)) => id.clone(),
                    _ => {
                        let id = store.id(habits, kind, &write.resource);
                        write.reserved = Some(id.clone());
                        id
                    }
                };
                if let Some(query) = query {
                    created.insert(format!("{kind}?{query}"), id.clone());
                }
                format!("{kind}/{id}")
            }
            "PUT" if !write.url.contains('?') => write.url.clone(),
            _ => continue,
        };
        if let Some(url) = entry["fullUrl"].as_str() {
            names.insert(url.to_owned(), name);
        }
    }
    let mut failed = None;
    for write in writes.iter_mut() {
        links(&mut write.resource, &mut |text| {
            if let Some(name) = names.get(text.as_str()) {
                name.clone_into(text);
            }
        });
        let mut wanted = Vec::new();
        references(&write.resource, &mut |reference| {
            if reference.contains('?') {
                wanted.push(reference.to_owned());
            }
        });
        for reference in wanted {
            let (kind, query) = reference.split_once('?').unwrap();
            match store.search(kind, query).as_slice() {
                [id] => links(&mut write.resource, &mut |text| {
                    if *text == reference {
                        *text = format!("{kind}/{id}");
                    }
                }),
                _ => failed = Some(Refused::new(412, "processing", "a condition finds not one")),
            }
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Looks at the references of a transaction when all of it is there.
fn check(habits: &Habits, store: &Store, writes: &[Write]) -> Result<(), Refused> {
    let Some(status) = habits.integrity else {
        return Ok(());
    };
    let mut missing = false;
    for write in writes {
        references(&write.resource, &mut |reference| {
            if let Some((kind, id)) = reference.split_once('/')
                && !id.contains('/')
            {
                let key = (kind.to_owned(), id.to_owned());
                missing |= !store.resources.contains_key(&key);
            }
        });
    }
    if missing {
        return Err(Refused::new(
            status,
            "not-found",
            "a reference leads nowhere",
        ));
    }
    Ok(())
}

/// Returns in which order entries are carried out, and answered.
fn order(order: Order, writes: &[Write]) -> Vec<usize> {
    let mut all: Vec<usize> = (0..writes.len()).collect();
    if order == Order::Execution {
        all.sort_by_key(|&at| match writes[at].method.as_str() {
            "DELETE" => 0,
            "POST" => 1,
            "PUT" => 2,
            _ => 3,
        });
    }
    all
}
