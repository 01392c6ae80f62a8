package fingerprint

// PermanentAddress asks the driver of one adapter.
func PermanentAddress(adapter string) string {
	p := &permanentAddress{}
	defer p.close()
	return p.of(adapter)
}
