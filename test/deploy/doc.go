// Package deploy checks the files of the folder deploy: that the daemon takes the
// configurations as they stand, that what they name is there, and that the
// balancer does what its configuration means.
package deploy
