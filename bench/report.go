package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// line is one row of what is printed.
type line struct {
	path    string
	product string
	bare    string
	ratio   float64
	limit   float64 // 0: for information only
	most    bool    // the ratio may be at most limit; else it must be at least that
	note    string
}

func (l line) reached() bool {
	if l.most {
		return l.ratio <= l.limit
	}
	return l.ratio >= l.limit
}

func (l line) verdict() (limit, verdict string) {
	switch {
	case l.limit == 0:
		return "", ""
	case l.most:
		limit = fmt.Sprintf("≤ %.2f", l.limit)
	default:
		limit = fmt.Sprintf("≥ %.2f", l.limit)
	}
	if l.reached() {
		return limit, "reached"
	}
	return limit, "NOT REACHED"
}

func printLines(w io.Writer, lines []line) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\npath\tproduct\tbare\tratio\tto reach\t\t")
	for _, l := range lines {
		limit, verdict := l.verdict()
		fmt.Fprintf(t, "%s\t%s\t%s\t%.3f\t%s\t%s\t%s\n", l.path, l.product, l.bare, l.ratio, limit, verdict, l.note)
	}
	return t.Flush()
}

// machine says where the figures come from.
func machine(dir string) string {
	name, device := fileSystem(dir)
	return fmt.Sprintf("%s %s/%s, %d processors (%s), files on %s (%s)",
		runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0), processor(), name, device)
}

func processor() string {
	data, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "model not known"
	}
	for line := range strings.Lines(string(data)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "model not known"
}

// fileSystem is the kind and the device of the file system that dir lies on,
// where the system tells.
func fileSystem(dir string) (kind, device string) {
	kind, device = "a file system of unknown kind", "device not known"
	data, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return kind, device
	}
	if target, err := filepath.EvalSymlinks(dir); err == nil {
		dir = target
	}
	longest := -1
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) < 3 || len(f[1]) < longest {
			continue
		}
		if point := strings.TrimSuffix(f[1], "/"); dir == point || strings.HasPrefix(dir, point+"/") {
			longest, kind, device = len(f[1]), f[2], f[0]
		}
	}
	return kind, device
}

func inMemory(dir string) bool {
	kind, _ := fileSystem(dir)
	return kind == "tmpfs" || kind == "ramfs"
}

// workFolder makes the folder that everything is measured in. Without a wish it
// is a temporary one, unless those lie in memory: there a commit costs nothing.
func workFolder(wish string) (string, error) {
	parent := wish
	if parent == "" {
		parent = os.TempDir()
		if inMemory(parent) {
			parent = "bin"
		}
	}
	if err := os.MkdirAll(parent, 0o750); err != nil {
		return "", err
	}
	parent, err := filepath.Abs(parent)
	if err != nil {
		return "", err
	}
	return os.MkdirTemp(parent, "bench")
}

// median is the middle of values.
func median[T int64 | float64 | time.Duration](values []T) T {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// quantile is the value below which the part q of values lies.
func quantile(values []time.Duration, q float64) time.Duration {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

func perSecond(rate float64) string { return fmt.Sprintf("%.0f/s", rate) }

func duration(d time.Duration) string {
	switch {
	case d >= 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
	case d >= time.Millisecond:
		return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond))
	}
	return fmt.Sprintf("%.2f µs", float64(d)/float64(time.Microsecond))
}
