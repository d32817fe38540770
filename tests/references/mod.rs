//! References in every form and every container: each has one fate, and what a plan can know it knows.

mod documents;

use std::collections::HashMap;

use documents::{Document, documents};
use proptest::prelude::*;
use stoker::{
    event::{LoadId, Unobserved},
    manifest,
    plan::{
        self, Action, Group, PlanHeader, PlannedSource, PlannedTarget, Step, Summary, To, file,
    },
    target::Facts,
};

/// Keeps the steps of a plan, and whether each travels in a Bundle that is sent as it is.
#[derive(Default)]
struct Steps {
    steps: Vec<(Step, bool)>,
    left: u32,
}

impl file::Sink for Steps {
    fn header(&mut self, _: &PlanHeader) -> Result<(), file::Error> {
        Ok(())
    }
    fn load(&mut self, _: LoadId) -> Result<(), file::Error> {
        Ok(())
    }
    fn group(&mut self, group: &Group) -> Result<(), file::Error> {
        self.left = group.records;
        Ok(())
    }
    fn step(&mut self, step: &Step) -> Result<(), file::Error> {
        let is_together = self.left > 0;
        self.left = self.left.saturating_sub(1);
        self.steps.push((step.clone(), is_together));
        Ok(())
    }
    fn end(&mut self, _: &[PlannedSource], _: &Summary) -> Result<(), file::Error> {
        Ok(())
    }
}

/// Plans the documents, each a file of its own.
fn planned(documents: &[Document], interaction: Option<&str>) -> (Summary, Steps) {
    let folder = tempfile::tempdir().unwrap();
    for (number, document) in documents.iter().enumerate() {
        let name = format!("{number}.{}", document.extension());
        fs_err::write(folder.path().join(name), document.text()).unwrap();
    }
    let interaction = interaction.map_or_else(String::new, |i| format!(", interaction: {i}"));
    let text = format!(
        "version: 1\nname: t\ntargets: {{ t: {{ local: store }} }}\nloads:\n  - {{ name: l, target: t, files: ['*.*json']{interaction} }}\n"
    );
    let path = folder.path().join("m.yaml");
    let (manifest, _) = manifest::read_text(&text, &path, &|_| None).unwrap();
    let header = PlanHeader {
        version: plan::VERSION,
        stoker: String::new(),
        name: manifest.name.clone(),
        manifest: path,
        root: folder.path().to_owned(),
        created: jiff::Timestamp::UNIX_EPOCH,
        targets: manifest
            .targets
            .iter()
            .map(|settings| PlannedTarget {
                settings: settings.clone(),
                facts: Facts::documented(&settings.store),
            })
            .collect(),
        loads: manifest.loads.clone(),
        run: manifest.run.clone(),
    };
    let mut steps = Steps::default();
    let surveyed = stoker::survey::survey(
        &header,
        &mut steps,
        None,
        folder.path(),
        &Unobserved,
        &|| false,
        &mut |_, _| {},
    )
    .unwrap();
    assert!(surveyed.problems.is_empty(), "{:?}", surveyed.problems);
    (surveyed.summary, steps)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Every reference is counted once, by its fate; and what names a record by the text of its `fullUrl` or by its id leads
    /// to that record, or stays as it is where the store finds it in the same Bundle.
    #[test]
    fn every_reference_has_one_fate(
        documents in documents(),
        interaction in proptest::sample::select(vec![None, Some("create"), Some("update")]),
    ) {
        let (summary, Steps { steps, .. }) = planned(&documents, interaction);
        let written: usize = documents.iter().map(Document::references).sum();
        let found = summary.references.get("t").cloned().unwrap_or_default();
        prop_assert_eq!(found.total, written as u64, "{:?}", found);
        prop_assert_eq!(found.fates(), found.total, "{:?}", found);
        prop_assert_eq!(summary.records(), steps.len() as u64);

        let by_place: HashMap<(usize, usize), &(Step, bool)> = steps
            .iter()
            .map(|step| {
                let position = &step.0.position;
                let at = position.entry.map_or(position.line - 1, u64::from);
                ((position.source.0 as usize, usize::try_from(at).unwrap()), step)
            })
            .collect();
        for (number, document) in documents.iter().enumerate() {
            for (at, record) in document.records.iter().enumerate() {
                let (step, is_together) = by_place[&(number, at)];
                if matches!(step.action, Action::Unsupported(_)) {
                    continue;
                }
                for (ordinal, text) in record.references.iter().enumerate() {
                    let Some(meant) = documents::meant(&documents, number, text) else {
                        continue;
                    };
                    let (to, _) = by_place[&meant];
                    if to.action.operation().is_none() {
                        let is_blocked = matches!(step.action, Action::Blocked(_));
                        prop_assert!(is_blocked, "{} needs {:?}", text, meant);
                        continue;
                    }
                    let Some(_) = step.action.operation() else {
                        continue;
                    };
                    let link = step.links.iter().find(|link| link.reference as usize == ordinal);
                    match link {
                        Some(link) => prop_assert_eq!(&link.to, &To::Step(to.number), "{}", text),
                        // Only an address is found by every store.
                        None => prop_assert!(
                            *is_together && meant.0 == number && to.full_url.is_some(),
                            "{} leads nowhere", text
                        ),
                    }
                }
            }
        }
    }
}
