package pgtest

// ErrNone is the error of Start where there is no PostgreSQL to start.
var ErrNone = errNone

// Start starts a cluster of its own for a program that measures: its files are
// synced. Its end is by Close.
func Start(args ...string) (*Cluster, error) { return start(args...) }

// Close stops the server and removes all that the cluster has left.
func (c *Cluster) Close() { c.end() }
