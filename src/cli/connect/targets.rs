//! The connections to all targets of a plan.

use std::{collections::HashMap, sync::Arc};

use super::{Connection, connect, transport::credentials};
use crate::{
    cli::{
        Error,
        not_there::{self, NotThere},
    },
    gate::AnswerBudget,
    manifest::Store,
    plan::PlanHeader,
};

/// Connects to every target that a plan's loads name.
pub(in crate::cli) async fn connect_all(
    header: &PlanHeader,
) -> Result<HashMap<String, Connection>, Error> {
    connect_each(header, |_| false).await
}

/// Connects to every target that a plan's loads name, to plan for them: a local store that is not there is not made.
pub(in crate::cli) async fn connect_to_plan(
    header: &PlanHeader,
) -> Result<HashMap<String, Connection>, Error> {
    connect_each(header, not_there::is_not_there).await
}

async fn connect_each(
    header: &PlanHeader,
    is_ahead: impl Fn(&Store) -> bool,
) -> Result<HashMap<String, Connection>, Error> {
    let mut connections = HashMap::new();
    let answers = Arc::new(AnswerBudget::of_memory(header.run.memory.0));
    for target in &header.targets {
        let settings = &target.settings;
        if !header.loads.iter().any(|load| load.target == settings.name) {
            continue;
        }
        let connection = if is_ahead(&settings.store) {
            let transport = Arc::new(NotThere);
            let credentials = credentials(settings).await?;
            Connection {
                ahead: Some(Arc::clone(&answers)),
                ..Connection::by(settings, Some(&not_there::url()), transport, credentials)?
            }
        } else {
            connect(settings, &answers).await?
        };
        connections.insert(settings.name.clone(), connection);
    }
    Ok(connections)
}

/// Makes the local stores that were not there when it was planned.
pub(in crate::cli) async fn make_local_stores(
    connections: &mut HashMap<String, Connection>,
) -> Result<(), Error> {
    for connection in connections.values_mut() {
        if let Some(answers) = &connection.ahead {
            *connection = connect(&connection.settings, answers).await?;
        }
    }
    Ok(())
}

/// Puts into a header what its targets say of themselves.
pub(in crate::cli) async fn with_facts(
    mut header: PlanHeader,
    connections: &HashMap<String, Connection>,
) -> Result<PlanHeader, Error> {
    for target in &mut header.targets {
        if let Some(connection) = connections.get(&target.settings.name) {
            target.facts = connection.facts().await?;
        }
    }
    Ok(header)
}

/// Ends all connections.
pub(in crate::cli) async fn close_all(connections: HashMap<String, Connection>) {
    for connection in connections.into_values() {
        connection.close().await;
    }
}
