//! plait-shm
