package fingerprint

import "strings"

// processorModel takes the processor's model from the first entry of what
// Linux says in /proc/cpuinfo, "" where it does not say. On ARM that is the
// numbers of implementer, architecture, variant, part and revision.
func processorModel(cpuinfo string) string {
	fields := map[string]string{}
	for line := range strings.Lines(cpuinfo) {
		name, value, found := strings.Cut(line, ":")
		if !found {
			if len(fields) > 0 {
				break
			}
			continue
		}
		fields[strings.ToLower(strings.TrimSpace(name))] = strings.Join(strings.Fields(value), " ")
	}
	for _, name := range []string{"model name", "cpu model", "cpu", "uarch"} {
		if v := fields[name]; v != "" {
			return v
		}
	}
	if fields["cpu part"] == "" {
		return ""
	}
	return strings.Join([]string{
		fields["cpu implementer"], fields["cpu architecture"], fields["cpu variant"], fields["cpu part"], fields["cpu revision"],
	}, " ")
}
