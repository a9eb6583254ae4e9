//! plait-trace
