//! The fields of `DicomStore`: their shapes (discovery document of the API, v1).

use super::super::settings::{Schema, Shape};

const NOTIFICATION: Shape = Shape::Object(&[
    ("pubsubTopic", Shape::Text),
    ("sendForBulkImport", Shape::Bool),
]);

/// `DicomStore`.
pub(super) static STORE: Schema = Schema {
    fields: &[
        ("labels", Shape::Labels),
        ("name", Shape::Output),
        ("notificationConfig", NOTIFICATION),
        ("notificationConfigs", Shape::List(&NOTIFICATION)),
        ("streamConfigs", Shape::List(&Shape::Any)),
    ],
    immutable: &["name"],
};
