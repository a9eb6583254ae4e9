//! plait-loop
