//go:build !amd64

package fingerprint

// processorID returns "": such an id is known of the x86 family only.
func processorID() string { return "" }
