# Cuts the workspace down to the agent: for ../Cargo.toml, agent/Cargo.toml and server/protocol/Cargo.toml alike.
s/^members = \[.*\]$/members = ["agent", "server\/protocol"]/
/^\[dev-dependencies\]$/,$d
