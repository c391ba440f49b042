//! XML as a value: what stands in attributes and elements, by their names, so that it is read like JSON.

use quick_xml::events::{BytesStart, Event};
use serde_json::{Map, Value};

/// Elements below this are left out.
const DEEPEST: usize = 16;
/// So many elements are read.
const MOST: usize = 2000;

/// An open element.
struct Element {
    name: String,
    fields: Map<String, Value>,
    text: String,
}

/// A document as an object with its root in it; several elements of one name are an array, the text of one that has
/// something else as well is its `message`. No document types, no entities but XML's own: who declares more is not read.
pub(crate) fn value_of(text: &str) -> Option<Value> {
    let mut reader = quick_xml::Reader::from_str(text);
    let mut open = vec![Element { name: String::new(), fields: Map::new(), text: String::new() }];
    let mut left_out = 0_usize;
    for _ in 0..MOST * 4 {
        match reader.read_event() {
            Ok(Event::Start(_)) if open.len() > DEEPEST => left_out += 1,
            Ok(Event::Start(element)) => open.push(begin(&element)),
            Ok(Event::Empty(element)) if open.len() <= DEEPEST => {
                let element = begin(&element);
                end(&mut open, element);
            }
            Ok(Event::End(_)) if left_out > 0 => left_out -= 1,
            Ok(Event::End(_)) => {
                let element = if open.len() > 1 { open.pop()? } else { return None };
                end(&mut open, element);
            }
            Ok(Event::Text(text)) => open.last_mut()?.text.push_str(&text.xml10_content()),
            Ok(Event::CData(text)) => open.last_mut()?.text.push_str(&text.xml10_content()),
            Ok(Event::GeneralRef(reference)) => {
                let text = match reference.resolve_char_ref() {
                    Ok(Some(character)) => character.to_string(),
                    _ => quick_xml::escape::resolve_xml_entity(&reference.xml10_content())
                        .unwrap_or_default()
                        .to_owned(),
                };
                open.last_mut()?.text.push_str(&text);
            }
            Ok(Event::DocType(_)) => return None,
            Ok(Event::Eof) | Err(_) => break,
            Ok(_) => {}
        }
    }
    // One that broke off counts as far as it came.
    while open.len() > 1 {
        let element = open.pop()?;
        end(&mut open, element);
    }
    let root = open.pop()?.fields;
    (!root.is_empty()).then_some(Value::Object(root))
}

fn begin(element: &BytesStart<'_>) -> Element {
    let mut fields = Map::new();
    for attribute in element.attributes().flatten() {
        let name: &str = attribute.key.as_ref();
        let is_about_xml = name.starts_with("xmlns") || name.starts_with("xsi:") || name == "version";
        if !is_about_xml {
            let name: &str = attribute.key.local_name().into_inner();
            fields.insert(name.to_owned(), Value::String(attribute.value.as_ref().to_owned()));
        }
    }
    Element { name: element.local_name().as_ref().to_owned(), fields, text: String::new() }
}

fn end(open: &mut [Element], element: Element) {
    let Element { name, mut fields, text } = element;
    let text = text.trim();
    let value = if fields.is_empty() {
        Value::String(text.to_owned())
    } else {
        if !text.is_empty() {
            fields.insert("message".to_owned(), Value::String(text.to_owned()));
        }
        Value::Object(fields)
    };
    let Some(parent) = open.last_mut() else { return };
    match parent.fields.get_mut(&name) {
        Some(Value::Array(several)) => several.push(value),
        Some(one) => {
            let first = one.take();
            *one = Value::Array(vec![first, value]);
        }
        None => {
            parent.fields.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_and_attributes_are_fields_and_what_declares_more_is_not_read() {
        for (text, expected) in [
            ("<a><b>1</b><b>2</b><c d=\"3\"/></a>", r#"{"a":{"b":["1","2"],"c":{"d":"3"}}}"#),
            (
                "<x:r xmlns:x=\"y\" stat=\"fail\"><x:err code=\"5\">no &amp; no</x:err></x:r>",
                r#"{"r":{"err":{"code":"5","message":"no & no"},"stat":"fail"}}"#,
            ),
            ("<?xml version=\"1.0\"?><Size><![CDATA[5]]></Size>", r#"{"Size":"5"}"#),
            ("<a><b>1</b><c>broke o", r#"{"a":{"b":"1","c":"broke o"}}"#),
        ] {
            assert_eq!(value_of(text), Some(serde_json::from_str(expected).unwrap()), "{text}");
        }
        for text in ["<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>", "</a>", "plain", ""] {
            assert_eq!(value_of(text), None, "{text}");
        }
        let deep = format!("{}x{}", "<a>".repeat(5000), "</a>".repeat(5000));
        assert!(value_of(&deep).is_some_and(|value| value.to_string().len() < 1000));
    }
}
