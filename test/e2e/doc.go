// Package e2e holds the tests that drive the built programs as their users do:
// over files, sockets, signals and exit statuses.
package e2e
