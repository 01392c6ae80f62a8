// Package buildinfo says which build of our programs is running.
package buildinfo

import (
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

// Set by the linker (see the Makefile), all three or none.
var (
	version string // as "v1.2.3" or "v1.2.3-4-gabcdef0-dirty"
	commit  string // full hash, empty outside a repository
	date    string // RFC 3339: of the commit, else of the build
)

// Info describes a build. Its zero value is a build about which nothing is known.
type Info struct {
	Version  string    // "devel" when unknown
	Commit   string    // empty when unknown
	Modified bool      // the tree had changes that were not committed
	Time     time.Time // UTC, whole seconds; zero when unknown
	Go       string    // toolchain, as "go1.26.0"
	Platform string    // as "linux/amd64"
}

// Read returns what the linker was told, and where it was told nothing, what
// the Go toolchain recorded.
//
// Info.Time is never later than the build, so a clock that shows an earlier
// instant is wrong: it can serve as a floor.
func Read() Info {
	recorded, _ := debug.ReadBuildInfo()
	return read(version, commit, date, recorded)
}

// Version returns Info.Version of this build.
func Version() string { return Read().Version }

func read(version, commit, date string, recorded *debug.BuildInfo) Info {
	info := Info{
		Version:  version,
		Commit:   commit,
		Modified: strings.HasSuffix(version, "-dirty"),
		Time:     instant(date),
		Go:       runtime.Version(),
		Platform: runtime.GOOS + "/" + runtime.GOARCH,
	}
	if recorded != nil && version == "" {
		if v := recorded.Main.Version; v != "(devel)" {
			info.Version = v
		}
		for _, s := range recorded.Settings {
			switch s.Key {
			case "vcs.revision":
				info.Commit = s.Value
			case "vcs.time":
				info.Time = instant(s.Value)
			case "vcs.modified":
				info.Modified = s.Value == "true"
			}
		}
	}
	if info.Version == "" {
		info.Version = "devel"
	}
	return info
}

func instant(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Second)
}

// String is one line for people, as "v1.2.3 (1a2b3c4d5e6f, 2026-01-02, go1.26.0, linux/amd64)".
func (i Info) String() string {
	var parts []string
	if i.Commit != "" {
		parts = append(parts, i.Commit[:min(12, len(i.Commit))])
	}
	if !i.Time.IsZero() {
		parts = append(parts, i.Time.Format(time.DateOnly))
	}
	for _, s := range []string{i.Go, i.Platform} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	v := i.Version
	if i.Modified && !strings.HasSuffix(v, "-dirty") {
		v += "-dirty"
	}
	if len(parts) == 0 {
		return v
	}
	return v + " (" + strings.Join(parts, ", ") + ")"
}
