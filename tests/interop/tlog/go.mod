// What Go verifies its checksum database with, which tests/interop holds the log's proofs against.
module callgate/interop/tlog

go 1.26.0

require golang.org/x/mod v0.42.0
