// Package cluster holds the tests of several daemons on one database, behind a
// load balancer, while daemons and databases are killed.
package cluster
