//! The embedded local store: a server on loopback that speaks the Healthcare API's FHIR paths.
