package buildinfo_test

import (
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/seed-357fa782/licensed/internal/buildinfo"
)

func TestRead(t *testing.T) {
	vcs := &debug.BuildInfo{
		Main: debug.Module{Version: "(devel)"},
		Settings: []debug.BuildSetting{
			{Key: "vcs.revision", Value: "ffff"},
			{Key: "vcs.time", Value: "2026-02-03T04:05:06Z"},
			{Key: "vcs.modified", Value: "true"},
		},
	}
	tests := []struct {
		name                  string
		version, commit, date string
		recorded              *debug.BuildInfo
		want                  buildinfo.Info
		text                  string
	}{
		{
			name: "linker", version: "v1.2.3", commit: "0123456789abcdef", date: "2026-01-02T05:04:05+02:00", recorded: vcs,
			want: buildinfo.Info{Version: "v1.2.3", Commit: "0123456789abcdef", Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)},
			text: "v1.2.3 (0123456789ab, 2026-01-02)",
		},
		{
			name: "linker outside a repository", version: "devel", date: "2026-01-02T03:04:05Z", recorded: vcs,
			want: buildinfo.Info{Version: "devel", Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)},
			text: "devel (2026-01-02)",
		},
		{
			name: "toolchain", recorded: vcs,
			want: buildinfo.Info{Version: "devel", Commit: "ffff", Modified: true, Time: time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)},
			text: "devel-dirty (ffff, 2026-02-03)",
		},
		{
			name: "installed at a version", recorded: &debug.BuildInfo{Main: debug.Module{Version: "v0.4.0"}},
			want: buildinfo.Info{Version: "v0.4.0"}, text: "v0.4.0",
		},
		{name: "nothing known", want: buildinfo.Info{Version: "devel"}, text: "devel"},
		{name: "unreadable date", version: "v1", date: "yesterday", want: buildinfo.Info{Version: "v1"}, text: "v1"},
		{name: "dirty", version: "v1-dirty", want: buildinfo.Info{Version: "v1-dirty", Modified: true}, text: "v1-dirty"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := buildinfo.ReadFrom(test.version, test.commit, test.date, test.recorded)
			if diff := cmp.Diff(test.want, got, cmpopts.IgnoreFields(buildinfo.Info{}, "Go", "Platform")); diff != "" {
				t.Errorf("info (-want +got):\n%s", diff)
			}
			got.Go, got.Platform = "", ""
			if got.String() != test.text {
				t.Errorf("text is %q, want %q", got, test.text)
			}
		})
	}
}

func TestReadThisBinary(t *testing.T) {
	info := buildinfo.Read()
	if !strings.HasPrefix(info.Go, "go1.") || info.Platform == "" || info.Version == "" || info.Version != buildinfo.Version() {
		t.Errorf("incomplete: %+v", info)
	}
}
