//! The fields of `Hl7V2Store` and `Message`: their shapes (discovery document of the API, v1).

use super::super::settings::{Schema, Shape};

const NOTIFICATION: Shape = Shape::Object(&[("filter", Shape::Text), ("pubsubTopic", Shape::Text)]);

const PACKAGE: Shape = Shape::Object(&[
    ("ignoreMinOccurs", Shape::Bool),
    ("schemas", Shape::List(&Shape::Any)),
    (
        "schematizedParsingType",
        Shape::Choice(&[
            "SCHEMATIZED_PARSING_TYPE_UNSPECIFIED",
            "SOFT_FAIL",
            "HARD_FAIL",
        ]),
    ),
    ("types", Shape::List(&Shape::Any)),
    (
        "unexpectedSegmentHandling",
        Shape::Choice(&[
            "UNEXPECTED_SEGMENT_HANDLING_MODE_UNSPECIFIED",
            "FAIL",
            "SKIP",
            "PARSE",
        ]),
    ),
]);

/// `Hl7V2Store`. `parserConfig.version` is immutable, and so is compared by who patches.
pub(super) static STORE: Schema = Schema {
    fields: &[
        ("labels", Shape::Labels),
        ("name", Shape::Output),
        (
            "notificationConfig",
            Shape::Object(&[("pubsubTopic", Shape::Text)]),
        ),
        ("notificationConfigs", Shape::List(&NOTIFICATION)),
        (
            "parserConfig",
            Shape::Object(&[
                ("allowNullHeader", Shape::Bool),
                ("schema", PACKAGE),
                ("segmentTerminator", Shape::Text),
                (
                    "version",
                    Shape::Choice(&["PARSER_VERSION_UNSPECIFIED", "V1", "V2", "V3"]),
                ),
            ]),
        ),
        ("rejectDuplicateMessage", Shape::Bool),
    ],
    immutable: &["name"],
};

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
