// Licensectl is the tool of the merchant's staff and scripts: it issues and
// changes licences through the admin API of a running daemon, does the offline
// side of an install, keeps the keys, and shows the whole in a demonstration.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // the zone of a date must not depend on the machine
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return newProgram().run(ctx, os.Args)
}
