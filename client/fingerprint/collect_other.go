//go:build !linux

package fingerprint

func (g *gathering) steps() []func() { return []func(){g.machineID} }
