//! An embeddable, Dynamo-style replication engine.
