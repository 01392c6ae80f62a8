package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/urfave/cli/v2"
)

func TestReorder(t *testing.T) {
	app := &cli.App{
		Flags: []cli.Flag{&cli.StringFlag{Name: "server"}, &cli.BoolFlag{Name: "debug"}},
		Commands: []*cli.Command{
			{Name: "renew", Aliases: []string{"r"}, Flags: []cli.Flag{
				&cli.StringFlag{Name: "for"}, &cli.BoolFlag{Name: "yes", Aliases: []string{"y"}}, &cli.IntFlag{Name: "count", Aliases: []string{"n"}},
				&cli.StringSliceFlag{Name: "feature"},
			}},
			{Name: "end", UsageText: "licensectl end ID INSTALL", Flags: []cli.Flag{&cli.BoolFlag{Name: "yes"}, &cli.StringFlag{Name: "output", Aliases: []string{"o"}}}},
			{Name: "keys", Subcommands: []*cli.Command{{Name: "rotate", Flags: []cli.Flag{&cli.BoolFlag{Name: "yes"}}}}},
		},
	}
	for _, tt := range []struct{ name, in, want string }{
		{"nothing", "", ""},
		{"no command", "--server s", "--server s"},
		{"options first already", "renew --for 1d id", "renew --for 1d -- id"},
		{"options last", "renew id --for 1d --yes", "renew --for 1d --yes -- id"},
		{"options around", "renew --yes id --for 1d more", "renew --yes --for 1d -- id more"},
		{"alias", "r id -n 5 -y x", "r -n 5 -y -- id x"},
		{"equals sign", "renew id --for=1d --yes=false x", "renew --for=1d --yes=false -- id x"},
		{"one dash", "renew id -for 1d", "renew -for 1d -- id"},
		{"value like an option", "renew id --for -5d", "renew --for -5d -- id"},
		{"value like a terminator", "renew id --for -- x", "renew --for -- -- id x"},
		{"after a terminator", "renew a -- --for 1d", "renew -- a --for 1d"},
		{"only a terminator", "renew --", "renew"},
		{"dash is an argument", "renew - --yes", "renew --yes -- -"},
		{"value is missing", "renew id --for", "renew --for -- id"},
		{"an id that begins with a dash", "renew -hcys3YQ7haw7OJwa0bbkI9kw4hLDMjJQT374trURWI --yes", "renew --yes -- -hcys3YQ7haw7OJwa0bbkI9kw4hLDMjJQT374trURWI"},
		{"the beginning of an id", "end id -hcys3 --yes -o json", "end --yes -o json -- id -hcys3"},
		{"an option with one dash beside ids", "end id -yes -x", "end -yes -x -- id"},
		{"no id", "renew id -hcys3", "renew -hcys3 -- id"},
		{"not known", "renew id --nope x", "renew --nope -- id x"},
		{"repeated", "renew --feature a=1 id --feature b=2", "renew --feature a=1 --feature b=2 -- id"},
		{"global options", "--server renew --debug renew id --yes", "--server renew --debug renew --yes -- id"},
		{"group", "keys rotate x --yes", "keys rotate --yes -- x"},
		{"group alone", "keys", "keys"},
		{"group with help", "keys --help", "keys --help"},
		{"unknown command", "nope id --yes", "nope id --yes"},
		{"unknown in group", "keys nope --yes", "keys nope --yes"},
		{"terminator before the command", "-- renew id --yes", "-- renew id --yes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := reorder(app, append([]string{"licensectl"}, strings.Fields(tt.in)...))
			want := append([]string{"licensectl"}, strings.Fields(tt.want)...)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	if got := reorder(app, nil); len(got) != 0 {
		t.Errorf("no arguments at all: %v", got)
	}
}

// Whatever is given, no argument is lost or made.
func FuzzReorder(f *testing.F) {
	for _, seed := range []string{"renew id --for 365d --yes", "keys rotate --yes -- x", "issue --product p -n 5 --feature a=b", "-- --", "-"} {
		f.Add(seed)
	}
	app := newProgram().app()
	f.Fuzz(func(t *testing.T, line string) {
		args := append([]string{"licensectl"}, strings.Fields(line)...)
		count := map[string]int{}
		for _, a := range args {
			count[a]++
		}
		for _, a := range reorder(app, args) {
			count[a]--
		}
		for a, n := range count {
			if n != 0 && a != "--" {
				t.Errorf("%q: %d lost", a, n)
			}
		}
	})
}
