//! The fields of `Hl7V2Store`: their shapes (discovery document of the API, v1).

use crate::emulator::settings::{Schema, Shape};

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
