package adminclient_test

import (
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/seed-357fa782/licensed/internal/adminclient"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

// The calls about marketplaces use the method, path and body of the admin API.
func TestMarketplaceCalls(t *testing.T) {
	type seen struct{ Method, Path, Query, Body string }
	var got seen
	server := daemon(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got = seen{r.Method, r.URL.EscapedPath(), r.URL.RawQuery, string(body)}
		w.Header().Set("Content-Type", r.Header.Get("Accept"))
		fmt.Fprint(w, "{}")
	})
	c := connect(t, server, adminclient.Options{})
	ctx := t.Context()
	for _, tt := range []struct {
		name string
		call func() error
		want seen
	}{
		{"all", func() error { _, err := c.Marketplaces(ctx); return err }, seen{"GET", "/admin/v1/marketplaces", "", ""}},
		{"one", func() error { _, err := c.Marketplace(ctx, "a/b"); return err }, seen{"GET", "/admin/v1/marketplaces/a%2Fb", "", ""}},
		{"self-test", func() error { _, err := c.SelfTest(ctx, "k", ""); return err }, seen{"POST", "/admin/v1/marketplaces/k/self-test", "", ""}},
		{
			"self-test from outside", func() error { _, err := c.SelfTest(ctx, "k", "https://a.example/m"); return err },
			seen{"POST", "/admin/v1/marketplaces/k/self-test", "url=https%3A%2F%2Fa.example%2Fm", ""},
		},
		{"begin a sync", func() error { _, err := c.Sync(ctx, "k", ""); return err }, seen{"POST", "/admin/v1/marketplaces/k/sync", "", "{}"}},
		{"go on with it", func() error { _, err := c.Sync(ctx, "k", "sync_1"); return err }, seen{"POST", "/admin/v1/marketplaces/k/sync", "", `{"run":"sync_1"}`}},
		{"jobs", func() error { _, err := c.Jobs(ctx, adminclient.JobOptions{}); return err }, seen{"GET", "/admin/v1/jobs", "", ""}},
		{
			"jobs with all", func() error {
				_, err := c.Jobs(ctx, adminclient.JobOptions{
					State: license.JobParked, Kind: license.JobDeliver, Channel: "k", License: "lic_1", Limit: 7, Cursor: "x=",
				})
				return err
			},
			seen{"GET", "/admin/v1/jobs", "channel=k&cursor=x%3D&kind=deliver&license=lic_1&limit=7&state=parked", ""},
		},
		{
			"retry", func() error { _, err := c.RetryJobs(ctx, adminwire.RetryJobs{Jobs: []string{"job_1"}}); return err },
			seen{"POST", "/admin/v1/jobs/retry", "", `{"jobs":["job_1"]}`},
		},
		{"drop", func() error { _, err := c.DropJob(ctx, "job_1/x"); return err }, seen{"POST", "/admin/v1/jobs/job_1%2Fx/drop", "", ""}},
	} {
		if err := tt.call(); err != nil || got != tt.want {
			t.Errorf("%s: %+v, want %+v (%v)", tt.name, got, tt.want, err)
		}
	}
}
