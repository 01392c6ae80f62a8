package daemon

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/daemon/internal/custody"
	"github.com/seed-357fa782/licensed/internal/buildinfo"
	"github.com/seed-357fa782/licensed/internal/config"
	"github.com/seed-357fa782/licensed/store/open"
)

// upgrading says how far the upgrade of the store is, which is served only then.
func (d *Daemon) upgrading(u open.Upgrade) {
	d.log.Info("the store is brought up to date; it is served when that is done, and goes on where it was if it is stopped",
		"from", u.From, "to", u.To, "step", u.Step, "records", u.Done)
	if u.Unreadable > 0 {
		d.log.Warn("records of the store cannot be read and are left as they are; db check names them", "records", u.Unreadable)
	}
}

func (d *Daemon) makeAuthority(ctx context.Context) error {
	host, _ := os.Hostname() // it says who this is to people; "" says less
	zone, err := config.ParseZone(d.config.TimeZone)
	if err != nil {
		return &ConfigError{fmt.Errorf("time_zone: %w", err)}
	}
	a, err := authority.New(authority.Options{
		Store: d.store, Custody: custody.Ring{Ring: d.ring}, Codes: d.ring.CodeKey(),
		Products: d.settings.products, Channels: d.settings.channels, Now: d.now, ClockChanged: d.clockChanged,
		UnknownCodes: d.config.Limits.UnknownCodesPerMinute, Certificate: d.certificateEnd,
		RotateEvery: time.Duration(d.config.Keys.RotateEvery),
		UndoWindow:  time.Duration(d.config.UndoWindow),
		Marks:       d.marks,
		Shared:      !open.Exclusive(d.config.Store),
		Host:        host,
		Version:     buildinfo.Version(),
		ShareKeys:   d.sharesKeys(),
		Zone:        zone,
	})
	if err != nil {
		return &ConfigError{err}
	}
	d.authority = a
	if err := a.LoadKeys(ctx); err != nil {
		return err
	}
	return a.LoadStatusLists(ctx)
}
