//! One record of comma-separated fields, with quotes.

/// The fields of `record`. A field in double quotes may hold commas, and quotes if they are doubled.
pub(super) fn fields(record: &str) -> Result<Vec<String>, String> {
    if record.is_empty() {
        return Err("it is empty".to_owned());
    }
    let mut fields = Vec::new();
    let mut rest = Some(record);
    while let Some(text) = rest {
        let (field, next) = match text.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted)?,
            None => plain_field(text)?,
        };
        fields.push(field);
        rest = next;
    }
    Ok(fields)
}

fn plain_field(text: &str) -> Result<(String, Option<&str>), String> {
    let (field, next) = text.split_once(',').map_or((text, None), |(field, next)| (field, Some(next)));
    if field.contains('"') {
        return Err(format!("a quote inside of '{field}': quote the whole field"));
    }
    Ok((field.to_owned(), next))
}

/// `text` begins after the quote.
fn quoted_field(text: &str) -> Result<(String, Option<&str>), String> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let (part, next) = rest.split_once('"').ok_or("a quote is not closed")?;
        field.push_str(part);
        match next.chars().next() {
            None => return Ok((field, None)),
            Some(',') => return Ok((field, Some(&next[1..]))),
            Some('"') => {
                field.push('"');
                rest = &next[1..];
            }
            Some(_) => return Err("a comma must follow a closed quote".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_keep_commas_and_quotes() {
        assert_eq!(fields("a,b=c,,d").unwrap(), ["a", "b=c", "", "d"]);
        assert_eq!(fields(r#""a,b","c""d",e"#).unwrap(), ["a,b", "c\"d", "e"]);
        assert_eq!(fields("a,").unwrap(), ["a", ""]);
        assert_eq!(fields(r#""""#).unwrap(), [""]);
        for bad in ["", r#"a"b"#, r#""a"#, r#""a"b"#] {
            assert!(fields(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
