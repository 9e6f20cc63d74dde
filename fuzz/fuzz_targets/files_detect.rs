//! Recorded files from anywhere: no bytes make the reader panic, and every request that it gives is valid.
//!
//! In: the bytes of a file, plain or compressed. Out: a panic where the reader panics, gives bytes that are no
//! request, or gives an empty one.
//! Left out on purpose: files of many megabytes.

#![no_main]

use otlp::files::TraceFile;
use otlp::view::validate;
use std::io::Cursor;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let length = bytes.len() as u64;
    match TraceFile::from_reader("fuzzed", Cursor::new(bytes.to_vec()), Some(length)) {
        Ok(file) => {
            for request in file {
                match request {
                    Ok(request) => {
                        let spans = validate(&request.body).expect("a recorded request is valid");
                        assert_eq!(spans.0, request.spans);
                        assert!(request.spans > 0, "an empty request is none");
                    }
                    Err(error) => drop(error.to_string()),
                }
            }
        }
        Err(error) => drop(error.to_string()),
    }
});
