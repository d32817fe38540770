use proptest::prelude::*;

use super::*;

fn stored(warning: Option<u16>) -> InstanceStatus {
    InstanceStatus::Stored(warning)
}

/// Google's answer as published, with a failure as its pages describe one.
const GOOGLE: &str = r#"<NativeDicomModel>
 <DicomAttribute tag="00081190" vr="UR" keyword="RetrieveURL"><Value number="1">https://x/studies/1</Value></DicomAttribute>
 <DicomAttribute tag="00081199" vr="SQ" keyword="ReferencedSOPSequence"><Item number="1">
  <DicomAttribute tag="00081155" vr="UI" keyword="ReferencedSOPInstanceUID"><Value number="1">1.1</Value></DicomAttribute>
 </Item></DicomAttribute>
 <DicomAttribute tag="00081198" vr="SQ" keyword="FailedSOPSequence"><Item number="1">
  <DicomAttribute tag="00081155" vr="UI"><Value number="1">1.2</Value></DicomAttribute>
  <DicomAttribute tag="00081197" vr="US"><Value number="1">272</Value></DicomAttribute>
  <DicomAttribute tag="00090097" vr="LO"><Value number="1">DICOM &lt;instance&gt; already exists</Value></DicomAttribute>
 </Item></DicomAttribute>
</NativeDicomModel>"#;

#[test]
fn an_answer_in_xml_is_read_with_and_without_namespace() {
    let spaced = GOOGLE
        .replace("<NativeDicomModel>", "<?xml version=\"1.0\"?><d:NativeDicomModel xmlns:d=\"http://dicom.nema.org/PS3.19/models/NativeDICOM\">")
        .replace("</NativeDicomModel>", "</d:NativeDicomModel>")
        .replace("<DicomAttribute", "<d:DicomAttribute")
        .replace("</DicomAttribute", "</d:DicomAttribute");
    for body in [GOOGLE, &spaced] {
        let answer = read(
            Some("application/dicom+xml; charset=utf-8"),
            body.as_bytes(),
        )
        .unwrap();
        assert_eq!(answer.of("1.1"), Some(&stored(None)));
        let Some(InstanceStatus::Failed(failure)) = answer.of("1.2") else {
            panic!("{answer:?}");
        };
        assert_eq!(failure.reason, Some(272));
        let detail = failure.detail.as_deref();
        assert_eq!(detail, Some("DICOM <instance> already exists"));
        assert!(failure.is_duplicate());
        assert_eq!(answer.of("1.3"), None);
        assert_eq!(read(None, body.as_bytes()).unwrap(), answer);
    }
}

#[test]
fn an_answer_in_json_is_read_with_numbers_as_texts_too() {
    let body = br#"{"00081199":{"vr":"SQ","Value":[
        {"00081155":{"vr":"UI","Value":["1.1"]}},
        {"00081155":{"vr":"UI","Value":["1.2 "]},"00081196":{"vr":"US","Value":["45056"]}}]},
      "00081198":{"vr":"SQ","Value":[
        {"00081155":{"vr":"UI","Value":["1.3"]},"00081197":{"vr":"US","Value":[49152]}},
        {"00081155":{"vr":"UI","Value":["1.1"]},"00081197":{"vr":"US","Value":[272]}},
        {"00081155":{"vr":"UI"},"00081197":{"vr":"US","Value":[42752]}}]},
      "0008119A":{"vr":"SQ","Value":[{"00081197":{"vr":"US","Value":[43264]}}]}}"#;
    let answer = read(Some("application/dicom+json"), body).unwrap();
    let in_both = InstanceFailure {
        reason: Some(272),
        detail: None,
    };
    assert_eq!(answer.of("1.1"), Some(&InstanceStatus::Both(in_both)));
    assert_eq!(answer.of("1.2"), Some(&stored(Some(45056))));
    for (sent, expected) in [
        (&["1.1", "1.2"][..], false),
        // Others in place of all, of the one that is not named, and of one of two.
        (&["9.1", "9.2", "9.3"], true),
        (&["1.2", "9.1"], true),
        (&["1.2", "9.1", "9.2"], false),
        (&["1.1", "1.2", "9.1"], false),
    ] {
        assert_eq!(answer.stores_others(sent), expected, "{sent:?}");
    }
    let failure = InstanceFailure {
        reason: Some(49152),
        detail: None,
    };
    assert!(!failure.is_duplicate());
    assert_eq!(answer.of("1.3"), Some(&InstanceStatus::Failed(failure)));
    assert_eq!(answer.others, [42752, 43264]);
    assert_eq!(answer.named(), 3);
}

/// Writes a text in UTF-16, the lower byte first, with or without a mark.
fn wide(text: &str, mark: &str) -> Vec<u8> {
    let all = format!("{mark}{text}");
    all.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

#[test]
fn an_answer_in_utf_16_is_read() {
    let json = r#"{"00081199":{"vr":"SQ","Value":[{"00081155":{"vr":"UI","Value":["1.1"]}}]}}"#;
    let declared = format!("<?xml version=\"1.0\" encoding=\"UTF-16\"?>{GOOGLE}");
    for mark in ["", "\u{feff}"] {
        for (kind, text) in [
            ("application/dicom+xml", GOOGLE),
            ("application/dicom+xml; charset=utf-16", &declared),
            ("application/dicom+json", json),
            ("application/dicom+json; charset=UTF-16LE", json),
        ] {
            let body = wide(text, mark);
            for kind in [Some(kind), None] {
                let answer = read(kind, &body).unwrap();
                assert_eq!(answer.of("1.1"), Some(&stored(None)), "{kind:?} {mark:?}");
            }
        }
    }
    // The bytes are no UTF-16, whatever is said of them; and a mark stands before UTF-8 as well.
    let answer = read(Some("text/xml; charset=utf-16"), declared.as_bytes()).unwrap();
    assert_eq!(answer.of("1.1"), Some(&stored(None)));
    let marked = format!("\u{feff}{json}");
    let answer = read(Some("application/dicom+json"), marked.as_bytes()).unwrap();
    assert_eq!(answer.of("1.1"), Some(&stored(None)));
    // A reason in words that is in no UTF-8 spoils nothing.
    let latin = json.replace("}}]}}", "},\"00091097\":{\"Value\":[\"M?ller\"]}}]}}");
    let latin: Vec<u8> = latin
        .bytes()
        .map(|b| if b == b'?' { 0xfc } else { b })
        .collect();
    let answer = read(Some("application/dicom+json; charset=iso-8859-1"), &latin).unwrap();
    assert_eq!(answer.of("1.1"), Some(&stored(None)));
}

#[test]
fn an_answer_of_several_parts_is_read_part_by_part() {
    let json = r#"{"00081199":{"vr":"SQ","Value":[{"00081155":{"vr":"UI","Value":["1.1"]}}]}}"#;
    let failed = r#"{"00081198":{"vr":"SQ","Value":[{"00081155":{"vr":"UI","Value":["1.1"]},"00081197":{"vr":"US","Value":[272]}}]}}"#;
    let body = |parts: &[(&str, &[u8])]| {
        let mut body = Vec::new();
        for (kind, part) in parts {
            body.extend_from_slice(format!("\r\n--b-1\r\n{kind}\r\n\r\n").as_bytes());
            body.extend_from_slice(part);
        }
        body.extend_from_slice(b"\r\n--b-1--\r\n");
        body
    };
    let of_json = "Content-Type: application/dicom+json";
    let of_xml = "content-type: application/dicom+xml; charset=utf-16\r\nContent-ID: <1>";
    let utf_16 = wide(GOOGLE, "\u{feff}");
    for parts in [
        &[(of_json, json.as_bytes())][..],
        &[(of_xml, &utf_16)],
        &[("", json.as_bytes())],
        &[
            ("Content-Type: text/plain", &b"stored"[..]),
            (of_json, json.as_bytes()),
        ],
    ] {
        let body = body(parts);
        for kind in [
            Some("multipart/related; type=\"application/dicom+json\"; boundary=b-1"),
            Some("multipart/related; boundary=\"b-1\"; type=application/dicom+xml"),
            // The boundary is not told, or nothing is.
            Some("Multipart/mixed"),
            None,
        ] {
            let answer = read(kind, &body).unwrap();
            assert_eq!(answer.of("1.1"), Some(&stored(None)), "{kind:?} {parts:?}");
        }
    }
    let kind = Some("multipart/related; boundary=b-1");
    for parts in [
        [(of_json, json.as_bytes()), (of_json, failed.as_bytes())],
        [(of_json, failed.as_bytes()), (of_json, json.as_bytes())],
    ] {
        let answer = read(kind, &body(&parts)).unwrap();
        let said = answer.of("1.1");
        assert!(matches!(said, Some(InstanceStatus::Both(_))), "{said:?}");
    }
    // A part that is cut says nothing, and one that says nothing of instances is no message of theirs.
    let whole = body(&[(of_json, json.as_bytes())]);
    let cut = &whole[..whole.len() - 12];
    assert_eq!(read(kind, cut).unwrap().named(), 0);
    let answer = read(kind, &body(&[("Content-Type: text/plain", b"no")])).unwrap();
    assert_eq!(answer.message.as_deref(), Some("no"));
    assert_eq!(read(kind, &body(&[(of_json, b"{")])), Err(Unreadable::Json));
}

#[test]
fn what_is_no_dicom_is_a_message() {
    let status =
        br#"{"error":{"code":403,"message":"no permission","status":"PERMISSION_DENIED"}}"#;
    let answer = read(Some("application/json; charset=UTF-8"), status).unwrap();
    assert_eq!(answer.message.as_deref(), Some("no permission"));
    let answer = read(Some("text/plain"), b"Service Unavailable").unwrap();
    assert_eq!(answer.message.as_deref(), Some("Service Unavailable"));
    assert_eq!(read(None, b" \r\n"), Ok(StoreAnswer::default()));
}

#[test]
fn what_is_not_what_it_says_is_unreadable() {
    let json = Some("application/dicom+json");
    let xml = Some("application/dicom+xml");
    assert_eq!(read(json, b"<html>"), Err(Unreadable::Json));
    assert_eq!(read(xml, b"<NativeDicomModel>"), Err(Unreadable::Xml));
    assert_eq!(read(xml, b"<a></b>"), Err(Unreadable::Xml));
    let deep = "<Item>".repeat(100_000);
    assert_eq!(read(xml, deep.as_bytes()), Err(Unreadable::Deep));
    let nested = "[".repeat(100_000);
    assert_eq!(read(json, nested.as_bytes()), Err(Unreadable::Json));
}

proptest! {
    #[test]
    fn no_answer_panics(body in proptest::collection::vec(any::<u8>(), 0..200), cut in 0..GOOGLE.len(), byte in any::<u8>()) {
        for kind in [None, Some("application/dicom+json"), Some("text/xml"), Some(""), Some("multipart/related; boundary=b")] {
            let _ = read(kind, &body);
            let _ = read(kind, &[b"--b\r\n\r\n", &body[..], b"\r\n--b--"].concat());
            let mut changed = GOOGLE.as_bytes().to_vec();
            changed[cut] = byte;
            let _ = read(kind, &changed);
            let _ = read(kind, &GOOGLE.as_bytes()[..cut]);
        }
    }
}

#[test]
fn an_answer_under_another_name_is_read_where_it_speaks_of_instances() {
    let json = r#"{"00081199":{"vr":"SQ","Value":[{"00081155":{"vr":"UI","Value":["1.2"]}}]}}"#;
    let xml = r#"<NativeDicomModel><DicomAttribute tag="00081199" vr="SQ"><Item number="1"><DicomAttribute tag="00081155" vr="UI"><Value number="1">1.2</Value></DicomAttribute></Item></DicomAttribute></NativeDicomModel>"#;
    for (kind, body) in [
        ("application/octet-stream", json),
        ("text/plain", json),
        ("application/dicom+xml", json),
        ("application/dicom+json", xml),
        ("text/plain", xml),
    ] {
        let read = read(Some(kind), body.as_bytes()).unwrap();
        assert_eq!(
            read.of("1.2"),
            Some(&InstanceStatus::Stored(None)),
            "{kind}"
        );
    }
    // A body that speaks of none is read as its Content-Type says.
    assert!(read(Some("application/json"), b"<html>").is_err());
    let text = read(Some("text/plain"), b"{\"message\":\"no\"}").unwrap();
    assert_eq!(text.message.as_deref(), Some("{\"message\":\"no\"}"));
}
