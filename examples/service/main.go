// Command service is a web service that is licensed, to be copied from. It is
// configured by its environment, as containers are:
//
//	LICENSE_CODE=LIC-… STATE_DIR=/var/lib/service service
//
// Before it is built, anchors.json takes the merchant's own anchors:
//
//	licensectl keys anchors -o json >anchors.json
package main

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/seed-357fa782/licensed/client"
)

// anchorsJSON is all that the service trusts from the start, so it is compiled in.
//
//go:embed anchors.json
var anchorsJSON []byte

const product = "demo" // the product's id at the merchant

func main() {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, log)
	stop()
	if err != nil {
		log.Error("the service has ended", "error", err)
		os.Exit(1)
	}
	log.Info("the service has ended")
}

func run(ctx context.Context, log *slog.Logger) error {
	anchors, err := client.ParseAnchors(anchorsJSON)
	if err != nil {
		return fmt.Errorf("fill in anchors.json and build again: %w", err)
	}
	guard, err := client.Open(ctx, client.Options{
		Anchors: anchors, Product: product,
		Server: cmp.Or(os.Getenv("LICENSE_SERVER"), "http://127.0.0.1:8080"),
		// With a code the guard activates by itself, and goes on trying: nobody is there
		// to type, and the licence server may start later than this service.
		Code: os.Getenv("LICENSE_CODE"),
		// A volume that outlives the container. Without one, a new container would be a
		// new install each time; of floating seats it would wait for its own to be free,
		// if Instance did not say that it is the same one, such as by a pod's name.
		StateDir: cmp.Or(os.Getenv("STATE_DIR"), "state"),
		Instance: os.Getenv("INSTANCE"),
	})
	if err != nil {
		return fmt.Errorf("open the licence: %w", err)
	}
	l := &licensing{guard: guard, log: log}
	followed := make(chan struct{})
	go func() { l.follow(); close(followed) }()
	stopHangup := l.refreshOnHangup(ctx)

	err = serve(ctx, log, l.routes())
	stopHangup()
	// Only after the last request: from here on a floating seat is somebody else's.
	err = errors.Join(err, guard.Close())
	<-followed // Close has ended the events
	return err
}

// refreshOnHangup asks the licence server at each SIGHUP, so that who has just
// renewed the licence does not wait until the guard calls home by itself.
func (l *licensing) refreshOnHangup(ctx context.Context) (stop func()) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	var wg sync.WaitGroup
	wg.Go(func() {
		for range hangup {
			if err := l.guard.Refresh(ctx); err != nil {
				l.log.Warn("the licence was not refreshed", "error", err)
			}
		}
	})
	return func() { signal.Stop(hangup); close(hangup); wg.Wait() }
}

// routes are the service's own. What a licence is needed for stands here, where
// one sees it, and not in what it does.
func (l *licensing) routes() http.Handler {
	answer := func(text string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text+"\n") })
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", l.health)
	mux.Handle("GET /drawings", l.licensed(answer("your drawings")))
	mux.Handle("GET /export", l.licensed(l.feature("export", answer("exported"))))
	return mux
}

// serve serves until ctx ends, and finishes the requests that are under way.
func serve(ctx context.Context, log *slog.Logger, h http.Handler) error {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", cmp.Or(os.Getenv("LISTEN"), "127.0.0.1:8000"))
	if err != nil {
		return err
	}
	log.Info("the service is serving", "address", listener.Addr().String())
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return server.Shutdown(patience)
}
