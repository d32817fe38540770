//! The fields of `Message`: their shapes (discovery document of the API, v1).

use super::super::settings::{Schema, Shape};

/// Message, as clients send it.
pub(super) static MESSAGE: Schema = Schema {
    fields: &[
        ("createTime", Shape::Output),
        ("data", Shape::Text),
        ("labels", Shape::Labels),
        ("messageType", Shape::Output),
        ("name", Shape::Output),
        ("parsedData", Shape::Output),
        ("patientIds", Shape::Output),
        ("schematizedData", Shape::Output),
        ("sendFacility", Shape::Output),
        ("sendTime", Shape::Output),
    ],
    immutable: &[
        "name",
        "data",
        "createTime",
        "messageType",
        "parsedData",
        "patientIds",
        "schematizedData",
        "sendFacility",
        "sendTime",
    ],
};
