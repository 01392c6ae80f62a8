package fingerprint

import "fmt"

// cpuid asks the processor about itself.
func cpuid(leaf uint32) (eax, edx uint32)

// processorID returns the processor's id in the form in which Windows and the
// marketplace's own client show it: 16 digits of CPUID leaf 1, EDX before EAX.
// It names the model and its stepping, and what the processor can do.
func processorID() string {
	eax, edx := cpuid(1)
	return fmt.Sprintf("%08X%08X", edx, eax)
}
