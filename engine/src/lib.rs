//! Everything between a file and a cited answer, headless.
//!
//! One folder a stage, in the order data flows; a stage may use what stands above it here, never what stands below.

pub mod attention;
pub mod citing;
pub mod document;
pub mod ingest;
pub mod kv;
