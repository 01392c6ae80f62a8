package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/client/fingerprint"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// machineID is that of the machine on which an install is opened: a container
// has none of its own.
const machineID = "bench-machine-0001"

// installed activates an install of this machine, and returns the folder of its
// memory.
func (s *site) installed(ctx context.Context) (dir string, err error) {
	dir = s.path("install")
	path := s.path("install.db")
	bought, err := s.stock(ctx, path, 0, 1, license.ChannelManual)
	if err != nil {
		return "", err
	}
	return dir, s.serve(ctx, path, "install", func(addr string) (err error) {
		g, err := client.Open(ctx, client.Options{
			Anchors: s.ring.Anchors(), Product: product, Server: "http://" + addr, StateDir: dir, Manual: true,
			Fingerprint: fingerprint.Collector{Getenv: func(name string) string {
				if name == fingerprint.CustomVariable {
					return machineID
				}
				return os.Getenv(name)
			}}.Collect,
		})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, g.Close()) }()
		return g.Activate(ctx, bought[0].code.Reveal())
	})
}

// measureOpened is a process that opens an install which holds a licence, against
// the same one that does not: without a server, and with one that takes the call
// which is due and never answers.
func measureOpened(ctx context.Context, s *site) (lines []line, err error) {
	dir, err := s.installed(ctx)
	if err != nil {
		return nil, fmt.Errorf("activate an install: %w", err)
	}
	anchors, err := token.MarshalAnchors(s.ring.Anchors())
	if err == nil {
		err = os.WriteFile(s.path("anchors.json"), anchors, 0o600)
	}
	if err != nil {
		return nil, err
	}
	silent, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, silent.Close()) }()
	opened, err := s.build(ctx, "bench/opened", "opened")
	if err != nil {
		return nil, err
	}
	for _, c := range []struct{ name, server string }{
		{"open an install, no server", ""}, {"open an install, the server hangs", "http://" + silent.Addr().String()},
	} {
		command := []string{opened, s.path("anchors.json"), dir, product}
		if c.server != "" {
			command = append(command, c.server)
		}
		l, err := s.started(ctx, c.name, [2][]string{command, {opened, s.path("anchors.json")}})
		if err != nil {
			return nil, err
		}
		l.note = "the ratio is milliseconds more than without opening it"
		lines = append(lines, l)
	}
	return lines, nil
}
