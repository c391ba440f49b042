//! The library as a file of the user's: CSV (RFC 4180, with a header line) or JSON, out and in.

use std::borrow::Cow;
use std::iter::Peekable;
use std::str::Chars;

use serde::de::{Deserializer as _, Error as _, SeqAccess, Visitor};
use serde_json::Value;

use crate::asset::{Asset, AssetStatus};
use crate::service::may_be_id;
use crate::words::{Count, Phrase, Words};

/// The columns of the table, and the fields of the JSON.
const COLUMNS: [&str; 7] = ["service", "asset_id", "name", "size", "crc32c", "status", "at"];
/// Fields of a line that are looked at. Another file may be a single line.
const MOST_FIELDS: usize = 1000;

/// The library as a table (RFC 4180), as [`crate::Engine::export_assets`] writes it.
pub fn csv(assets: &[Asset]) -> String {
    let quoted = |text: &str| format!("\"{}\"", guarded(text).replace('"', "\"\""));
    let mut text = COLUMNS.join(",") + "\r\n";
    for asset in assets {
        let status = serde_json::to_value(asset.status).ok().and_then(|s| s.as_str().map(str::to_owned));
        let fields = [
            quoted(&asset.service),
            quoted(&asset.asset_id),
            quoted(&asset.name),
            asset.size.map_or_else(String::new, |size| size.to_string()),
            asset.crc32c.clone().unwrap_or_default(),
            status.unwrap_or_default(),
            asset.at.to_string(),
        ];
        text.push_str(&fields.join(","));
        text.push_str("\r\n");
    }
    text
}

/// What a program for tables would take for a formula begins with an apostrophe, by which they know a text (CWE-1236).
fn guarded(text: &str) -> Cow<'_, str> {
    if is_formula(text) { format!("'{text}").into() } else { text.into() }
}

/// The text that was guarded.
fn unguarded(text: String) -> String {
    match text.strip_prefix('\'') {
        Some(rest) if is_formula(rest) => rest.to_owned(),
        _ => text,
    }
}

/// Whatever is guarded already counts as well, so that what is taken off is what was put on.
fn is_formula(text: &str) -> bool {
    text.trim_start_matches('\'').starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'])
}

/// Reads either of the two, told apart by what is in it. All or nothing: one entry that is none of the library's shows
/// that the file is another one, or damaged, and nothing after it is looked at.
pub(crate) fn read(bytes: &[u8]) -> Result<Vec<Asset>, Words> {
    let text = std::str::from_utf8(bytes).map_err(|_| Phrase::NotText)?;
    // Some programs that save tables put it in front.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if !text.trim_start().starts_with(['[', '{']) {
        let entries = table(text)?.enumerate();
        return entries.map(|(place, asset)| asset.and_then(sound).ok_or_else(|| unusable(place))).collect();
    }
    let mut assets = Vec::new();
    let mut json = serde_json::Deserializer::from_str(text);
    let read = json.deserialize_seq(Entries(&mut assets)).and_then(|()| json.end());
    match read {
        Ok(()) => Ok(assets),
        // There is a list, and an entry of it is sound JSON but no asset.
        Err(error) if error.is_data() && text.trim_start().starts_with('[') => Err(unusable(assets.len())),
        Err(error) => Err(error.to_string().into()),
    }
}

fn unusable(place: usize) -> Words {
    Phrase::EntryUnusable { entry: Count(place as u64 + 1) }.into()
}

/// Takes the entries of a JSON list one by one: a whole list of anything would take many times its size in memory.
struct Entries<'a>(&'a mut Vec<Asset>);

impl<'de> Visitor<'de> for Entries<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a sequence")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        while let Some(asset) = entries.next_element()? {
            self.0.push(sound(asset).ok_or_else(|| A::Error::custom("no asset"))?);
        }
        Ok(())
    }
}

/// The asset, if it may be one.
fn sound(mut asset: Asset) -> Option<Asset> {
    let is_sum = |sum: &String| sum.len() == 8 && sum.bytes().all(|byte| byte.is_ascii_hexdigit());
    // The database's numbers have a sign.
    let fits = |number: u64| i64::try_from(number).is_ok();
    asset.crc32c = asset.crc32c.map(|sum| sum.to_ascii_lowercase());
    let is_sound = asset.service.about().is_some()
        && may_be_id(&asset.asset_id)
        && asset.crc32c.as_ref().is_none_or(is_sum)
        && asset.size.is_none_or(fits)
        && fits(asset.at);
    is_sound.then_some(asset)
}

/// Reads a table. Its columns may stand in any order, among others.
fn table(text: &str) -> Result<impl Iterator<Item = Option<Asset>>, Words> {
    let mut lines = records(text);
    let header = lines.next().unwrap_or_default();
    let mut places = [0; COLUMNS.len()];
    for (place, name) in places.iter_mut().zip(COLUMNS) {
        let found = header.iter().position(|column| column.trim() == name);
        *place = found.ok_or_else(|| Phrase::ColumnMissing { name: name.into() })?;
    }
    let asset = move |fields: Vec<String>| {
        let [service, asset_id, name, size, crc32c, status, at] =
            places.map(|place| fields.get(place).cloned());
        let number = |text: String| if text.is_empty() { Some(None) } else { text.parse().ok().map(Some) };
        Some(Asset {
            service: unguarded(service?).into(),
            asset_id: unguarded(asset_id?).into(),
            name: unguarded(name?).into(),
            size: number(size?)?,
            crc32c: crc32c.filter(|sum| !sum.is_empty()),
            status: serde_json::from_value::<AssetStatus>(Value::String(status?)).ok()?,
            at: at?.parse().ok()?,
        })
    };
    Ok(lines.map(asset))
}

/// The fields of each line that has any, one line at a time. What is in quotes may hold commas, line ends and doubled
/// quotes.
fn records(text: &str) -> impl Iterator<Item = Vec<String>> {
    let mut rest = text.chars().peekable();
    let lines = std::iter::from_fn(move || rest.peek().is_some().then(|| record(&mut rest)));
    lines.filter(|fields| fields.iter().any(|field| !field.is_empty()))
}

/// Takes the fields of one line.
fn record(rest: &mut Peekable<Chars<'_>>) -> Vec<String> {
    let (mut fields, mut field) = (Vec::new(), String::new());
    let mut in_quotes = false;
    let mut end = |field: &mut String| {
        let whole = std::mem::take(field);
        if fields.len() < MOST_FIELDS {
            fields.push(whole);
        }
    };
    while let Some(char) = rest.next() {
        match char {
            '"' if in_quotes && rest.peek() == Some(&'"') => field.extend(rest.next()),
            '"' if in_quotes => in_quotes = false,
            _ if in_quotes => field.push(char),
            '"' if field.is_empty() => in_quotes = true,
            ',' => end(&mut field),
            '\n' => break,
            '\r' if rest.peek() == Some(&'\n') => {}
            _ => field.push(char),
        }
    }
    end(&mut field);
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assets() -> Vec<Asset> {
        let asset = |asset_id: &str, name: &str, size, status| Asset {
            service: "mavi".into(),
            asset_id: asset_id.into(),
            name: name.into(),
            size,
            crc32c: size.map(|size: u64| format!("{:08x}", size as u32)),
            status,
            at: 1_700_000_000_000,
        };
        vec![
            asset("re_1", "plain.mp4", Some(0), AssetStatus::Confirmed),
            asset("re_2", "one, \"two\"\r\nthree \u{feff}Füße 海.mp4", None, AssetStatus::Abandoned),
            asset("re_3", "\"", Some(i64::MAX as u64), AssetStatus::Seen),
        ]
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(read(csv(&assets()).as_bytes()), Ok(assets()));
        assert_eq!(read(&serde_json::to_vec_pretty(&assets()).unwrap()), Ok(assets()));
        assert_eq!(read(csv(&[]).as_bytes()), Ok(Vec::new()));
        // As other programs save a table: another order, a column more, no quotes, other line ends, an empty line.
        let saved = "\u{feff}at,name,NOTE,status,service,asset_id,size,crc32c\n7,a b.mp4,x,sent,mavi,re_9,5,ABCDEF01\n,,,,,,,\n";
        let [asset] = <[Asset; 1]>::try_from(read(saved.as_bytes()).unwrap()).unwrap();
        assert_eq!(
            (&*asset.asset_id, asset.size, asset.crc32c.as_deref()),
            ("re_9", Some(5), Some("abcdef01"))
        );
    }

    #[test]
    fn no_name_is_a_formula_in_the_table_and_each_is_read_as_it_was() {
        let names =
            ["=HYPERLINK(\"http://x\")", "+1", "-1", "@SUM(A1)", "'=x", "''-x", "'x", "＝1", "a=b", ""];
        let assets: Vec<Asset> = names
            .iter()
            .map(|name| Asset { name: (*name).into(), asset_id: "-re_1".into(), ..assets().remove(0) })
            .collect();
        let table = csv(&assets);
        for fields in records(&table).skip(1) {
            for field in fields {
                assert!(!field.starts_with(['=', '+', '-', '@', '\t', '\r', '＝']), "{field}");
            }
        }
        assert_eq!(read(table.as_bytes()), Ok(assets));
    }

    #[test]
    fn another_file_is_none_and_says_why() {
        let good = csv(&assets()[..1]);
        for (bad, why) in [
            ("", "no column `service`"),
            ("hello", "no column `service`"),
            (&*good.replace("crc32c", "md5"), "no column `crc32c`"),
            (&good.replace("\"mavi\"", "\"nobody\""), "entry 1"),
            (&good.replace("\"re_1\"", "\"\""), "entry 1"),
            (&good.replace("\"re_1\"", "\"re\n1\""), "entry 1"),
            (&good.replace("confirmed", "perhaps"), "entry 1"),
            (&good.replace("00000000,", "0,"), "entry 1"),
            (&good.replace("1700000000000", "9999999999999999999"), "entry 1"),
            (&good.replace(",0,", ",-1,"), "entry 1"),
            (&format!("{good}only,half"), "entry 2"),
            (r#"{"concurrent_downloads":3}"#, "sequence"),
            (r#"[{"service":"mavi"}]"#, "entry 1"),
            (r#"[{"service":"mavi","asset_id":"#, "EOF"),
            ("[] []", "trailing"),
            // The first entry that is none ends it: what comes after is not even looked at.
            ("[1, 2, 3, and no JSON any more", "entry 1"),
        ] {
            let told = read(bad.as_bytes()).unwrap_err().to_string();
            assert!(told.contains(why), "{bad}: {told}");
        }
        assert!(records(&"1,".repeat(MOST_FIELDS * 3)).all(|fields| fields.len() == MOST_FIELDS));
        let mut seen = 0;
        let lines = "\n".repeat(50) + "a,b\n" + &"c,d\n".repeat(50);
        let first = records(&lines).inspect(|_| seen += 1).next();
        assert_eq!((first, seen), (Some(vec!["a".to_owned(), "b".to_owned()]), 1), "a line at a time");
        assert!(read(b"\xff\xfe").unwrap_err().to_string().contains("not text"));
    }
}
