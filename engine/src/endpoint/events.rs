//! Server-sent events: a stream of bytes, cut anywhere, into the data of each event.
//!
//! As the standard has it (WHATWG HTML, section 9.2.6): lines end with CR, LF or both; an empty line ends an event; lines
//! of `data` are joined; comments and other fields mean nothing here; what follows the last empty line is no event.

/// Bytes of one event at most. A piece of an answer takes some hundreds.
const LONGEST_EVENT: usize = 1 << 20;

/// An event that is longer than any piece of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooLong;

/// Takes a stream apart as it comes.
#[derive(Debug, Default)]
pub(super) struct Events {
    line: Vec<u8>,
    /// Lines of the event so far, each with a line feed behind it; None before the first.
    data: Option<Vec<u8>>,
    /// The last byte ended a line; a line feed now belongs to it.
    after_return: bool,
    /// A byte order mark may stand only before the first line.
    begun: bool,
}

impl Events {
    /// Takes the next bytes; calls `each` with the data of every event that they end.
    pub fn push(&mut self, bytes: &[u8], each: &mut dyn FnMut(&str)) -> Result<(), TooLong> {
        for &byte in bytes {
            let after_return = std::mem::replace(&mut self.after_return, byte == b'\r');
            match byte {
                b'\n' if after_return => {}
                b'\n' | b'\r' => self.end_line(each),
                _ => {
                    let held = self.data.as_ref().map_or(0, Vec::len) + self.line.len();
                    if held >= LONGEST_EVENT {
                        return Err(TooLong);
                    }
                    self.line.push(byte);
                }
            }
        }
        Ok(())
    }

    fn end_line(&mut self, each: &mut dyn FnMut(&str)) {
        let mut line = self.line.as_slice();
        if !std::mem::replace(&mut self.begun, true) {
            line = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line);
        }
        if line.is_empty() {
            if let Some(mut data) = self.data.take() {
                data.pop();
                each(&String::from_utf8_lossy(&data));
            }
        } else if let Some(value) = field(line, b"data") {
            let data = self.data.get_or_insert_default();
            data.extend_from_slice(value);
            data.push(b'\n');
        }
        self.line.clear();
    }
}

/// The value of a line that holds the field `name`.
fn field<'l>(line: &'l [u8], name: &[u8]) -> Option<&'l [u8]> {
    let rest = line.strip_prefix(name)?;
    if rest.is_empty() {
        return Some(rest);
    }
    let value = rest.strip_prefix(b":")?;
    Some(value.strip_prefix(b" ").unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn events_of<'b>(chunks: impl IntoIterator<Item = &'b [u8]>) -> Vec<String> {
        let mut events = Events::default();
        let mut all = Vec::new();
        for chunk in chunks {
            events
                .push(chunk, &mut |data| all.push(data.to_owned()))
                .expect("no event is long");
        }
        all
    }

    #[test]
    fn events_are_what_the_standard_says() {
        for (stream, expected) in [
            ("data: a\n\n", vec!["a"]),
            (
                "data:a\r\n\r\ndata: b\r\rdata:  c\n\n",
                vec!["a", "b", " c"],
            ),
            ("\u{FEFF}data: a\n\n", vec!["a"]),
            ("data: a\ndata: b\n\n", vec!["a\nb"]),
            ("data\n\n", vec![""]),
            ("data\ndata\n\n", vec!["\n"]),
            (
                ": ping\n\n: ping\n\nid: 3\nevent: x\ndata: a\nretry: 9\n\n",
                vec!["a"],
            ),
            ("database: no\n\n data: no\n\n", vec![]),
            ("data: cut off\n", vec![]),
            ("data: cut off", vec![]),
            ("\n\n\n", vec![]),
        ] {
            assert_eq!(events_of([stream.as_bytes()]), expected, "{stream:?}");
        }
        assert_eq!(events_of([&b"data: \xFF\n\n"[..]]), ["\u{FFFD}"]);
    }

    #[test]
    fn an_event_has_a_bound_and_many_are_none() {
        let mut events = Events::default();
        let line = [&b"data: "[..], &[b'x'; 1000]].concat();
        for _ in 0..LONGEST_EVENT / 1000 + 10 {
            assert_eq!(events.push(&line, &mut |_| ()), Ok(()));
            assert_eq!(events.push(b"\n\n", &mut |_| ()), Ok(()));
        }
        // Neither one line nor many of them, nor one that is no data.
        for (endless, end) in [(&line[..], &b""[..]), (&line[..], b"\n"), (b": ping", b"")] {
            let mut events = Events::default();
            let refused = (0..LONGEST_EVENT).any(|_| {
                events.push(endless, &mut |_| ()).is_err() || events.push(end, &mut |_| ()).is_err()
            });
            assert!(refused);
        }
    }

    proptest! {
        #[test]
        fn where_the_stream_is_cut_makes_no_difference(
            lines in prop::collection::vec(
                prop_oneof![
                    Just(String::new()), Just(String::new()), "data: ?\\PC{0,12}", "[a-z:]{0,6}: ?\\PC{0,6}", "\\PC{0,8}"
                ],
                0..24,
            ),
            ends in prop::collection::vec(prop_oneof![Just("\n"), Just("\r\n"), Just("\r")], 24),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let stream: String = lines.iter().zip(&ends).flat_map(|(line, end)| [line.as_str(), end]).collect();
            let bytes = stream.as_bytes();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let chunks = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]);
            let whole = events_of([bytes]);
            prop_assert_eq!(&events_of(chunks), &whole);
            prop_assert_eq!(&events_of(bytes.chunks(1)), &whole);
        }

        #[test]
        fn what_is_written_is_read(data in prop::collection::vec("[^\r\n]{0,20}", 0..8)) {
            let stream: String = data.iter().map(|data| format!("data: {data}\r\n\r\n")).collect();
            prop_assert_eq!(events_of(stream.as_bytes().chunks(3)), data);
        }
    }
}
