package faultstore

import (
	"context"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// faultTx notes every call and asks whether it may be made.
type faultTx struct {
	store    *Store
	inner    store.Tx
	writable bool
	called   []string
}

var _ store.Tx = (*faultTx)(nil)

func (t *faultTx) call(method string) error {
	t.called = append(t.called, method)
	return t.store.call(method, t.writable)
}

// do makes a call that returns an error only.
func (t *faultTx) do(method string, fn func() error) error {
	if err := t.call(method); err != nil {
		return err
	}
	return fn()
}

// get makes a call that returns something.
func get[T any](t *faultTx, method string, fn func() (T, error)) (T, error) {
	if err := t.call(method); err != nil {
		var zero T
		return zero, err
	}
	return fn()
}

func (t *faultTx) License(ctx context.Context, id string) (license.License, error) {
	return get(t, "License", func() (license.License, error) { return t.inner.License(ctx, id) })
}

func (t *faultTx) LicenseByCode(ctx context.Context, index []byte) (license.License, error) {
	return get(t, "LicenseByCode", func() (license.License, error) { return t.inner.LicenseByCode(ctx, index) })
}

func (t *faultTx) CreateLicense(ctx context.Context, l license.License) error {
	return t.do("CreateLicense", func() error { return t.inner.CreateLicense(ctx, l) })
}

func (t *faultTx) UpdateLicense(ctx context.Context, l license.License) error {
	return t.do("UpdateLicense", func() error { return t.inner.UpdateLicense(ctx, l) })
}

func (t *faultTx) Licenses(ctx context.Context, f store.Filter, p store.Page) ([]license.License, string, error) {
	if err := t.call("Licenses"); err != nil {
		return nil, "", err
	}
	return t.inner.Licenses(ctx, f, p)
}

func (t *faultTx) Install(ctx context.Context, licenseID, installID string) (license.Install, error) {
	return get(t, "Install", func() (license.Install, error) { return t.inner.Install(ctx, licenseID, installID) })
}

func (t *faultTx) CreateInstall(ctx context.Context, i license.Install) error {
	return t.do("CreateInstall", func() error { return t.inner.CreateInstall(ctx, i) })
}

func (t *faultTx) UpdateInstall(ctx context.Context, i license.Install) error {
	return t.do("UpdateInstall", func() error { return t.inner.UpdateInstall(ctx, i) })
}

func (t *faultTx) Installs(ctx context.Context, licenseID string) ([]license.Install, error) {
	return get(t, "Installs", func() ([]license.Install, error) { return t.inner.Installs(ctx, licenseID) })
}

func (t *faultTx) LiveInstalls(ctx context.Context, licenseID string) ([]license.Install, error) {
	return get(t, "LiveInstalls", func() ([]license.Install, error) { return t.inner.LiveInstalls(ctx, licenseID) })
}

func (t *faultTx) Append(ctx context.Context, e license.AuditEvent) (int64, error) {
	return get(t, "Append", func() (int64, error) { return t.inner.Append(ctx, e) })
}

func (t *faultTx) Events(ctx context.Context, f store.EventFilter, p store.Page) ([]license.AuditEvent, string, error) {
	if err := t.call("Events"); err != nil {
		return nil, "", err
	}
	return t.inner.Events(ctx, f, p)
}

func (t *faultTx) AuditHead(ctx context.Context) (license.AuditHead, error) {
	return get(t, "AuditHead", func() (license.AuditHead, error) { return t.inner.AuditHead(ctx) })
}

func (t *faultTx) EventLines(ctx context.Context, f store.EventFilter, p store.Page) ([][]byte, string, error) {
	if err := t.call("EventLines"); err != nil {
		return nil, "", err
	}
	return t.inner.EventLines(ctx, f, p)
}

func (t *faultTx) EraseEvents(ctx context.Context, positions ...int64) (int, error) {
	return get(t, "EraseEvents", func() (int, error) { return t.inner.EraseEvents(ctx, positions...) })
}

func (t *faultTx) LastStatusList(ctx context.Context) (license.StatusList, error) {
	return get(t, "LastStatusList", func() (license.StatusList, error) { return t.inner.LastStatusList(ctx) })
}

func (t *faultTx) StatusList(ctx context.Context, id string) (license.StatusList, error) {
	return get(t, "StatusList", func() (license.StatusList, error) { return t.inner.StatusList(ctx, id) })
}

func (t *faultTx) StatusLists(ctx context.Context) ([]license.StatusList, error) {
	return get(t, "StatusLists", func() ([]license.StatusList, error) { return t.inner.StatusLists(ctx) })
}

func (t *faultTx) PutStatusList(ctx context.Context, l license.StatusList) error {
	return t.do("PutStatusList", func() error { return t.inner.PutStatusList(ctx, l) })
}

func (t *faultTx) StatusEntry(ctx context.Context, list string, index int) (license.StatusEntry, error) {
	return get(t, "StatusEntry", func() (license.StatusEntry, error) { return t.inner.StatusEntry(ctx, list, index) })
}

func (t *faultTx) StatusEntries(ctx context.Context, list string) ([]license.StatusEntry, error) {
	return get(t, "StatusEntries", func() ([]license.StatusEntry, error) { return t.inner.StatusEntries(ctx, list) })
}

func (t *faultTx) PutStatusEntry(ctx context.Context, list string, e license.StatusEntry) error {
	return t.do("PutStatusEntry", func() error { return t.inner.PutStatusEntry(ctx, list, e) })
}

func (t *faultTx) Pending(ctx context.Context, channel string, index []byte) (license.Pending, error) {
	return get(t, "Pending", func() (license.Pending, error) { return t.inner.Pending(ctx, channel, index) })
}

func (t *faultTx) PutPending(ctx context.Context, p license.Pending) error {
	return t.do("PutPending", func() error { return t.inner.PutPending(ctx, p) })
}

func (t *faultTx) DeletePending(ctx context.Context, channel string, index []byte) error {
	return t.do("DeletePending", func() error { return t.inner.DeletePending(ctx, channel, index) })
}

func (t *faultTx) Job(ctx context.Context, id string) (license.Job, error) {
	return get(t, "Job", func() (license.Job, error) { return t.inner.Job(ctx, id) })
}

func (t *faultTx) CreateJob(ctx context.Context, j license.Job) error {
	return t.do("CreateJob", func() error { return t.inner.CreateJob(ctx, j) })
}

func (t *faultTx) UpdateJob(ctx context.Context, j license.Job) error {
	return t.do("UpdateJob", func() error { return t.inner.UpdateJob(ctx, j) })
}

func (t *faultTx) DeleteJob(ctx context.Context, j license.Job) error {
	return t.do("DeleteJob", func() error { return t.inner.DeleteJob(ctx, j) })
}

func (t *faultTx) DueJobs(ctx context.Context, now time.Time, limit int) (due []license.Job, next time.Time, err error) {
	if err := t.call("DueJobs"); err != nil {
		return nil, time.Time{}, err
	}
	return t.inner.DueJobs(ctx, now, limit)
}

func (t *faultTx) Jobs(ctx context.Context, f store.JobFilter, p store.Page) ([]license.Job, string, error) {
	if err := t.call("Jobs"); err != nil {
		return nil, "", err
	}
	return t.inner.Jobs(ctx, f, p)
}

func (t *faultTx) CountJobs(ctx context.Context) (store.JobCounts, error) {
	return get(t, "CountJobs", func() (store.JobCounts, error) { return t.inner.CountJobs(ctx) })
}

func (t *faultTx) Order(ctx context.Context, channel, id, line string) (license.Order, error) {
	return get(t, "Order", func() (license.Order, error) { return t.inner.Order(ctx, channel, id, line) })
}

func (t *faultTx) CreateOrder(ctx context.Context, o license.Order) error {
	return t.do("CreateOrder", func() error { return t.inner.CreateOrder(ctx, o) })
}

func (t *faultTx) UpdateOrder(ctx context.Context, o license.Order) error {
	return t.do("UpdateOrder", func() error { return t.inner.UpdateOrder(ctx, o) })
}

func (t *faultTx) RenameOrder(ctx context.Context, o license.Order, line string) error {
	return t.do("RenameOrder", func() error { return t.inner.RenameOrder(ctx, o, line) })
}

func (t *faultTx) Orders(ctx context.Context, f store.OrderFilter, p store.Page) ([]license.Order, string, error) {
	if err := t.call("Orders"); err != nil {
		return nil, "", err
	}
	return t.inner.Orders(ctx, f, p)
}

func (t *faultTx) MarkSeen(ctx context.Context, key []byte, until, now time.Time) error {
	return t.do("MarkSeen", func() error { return t.inner.MarkSeen(ctx, key, until, now) })
}

func (t *faultTx) Value(ctx context.Context, name string) ([]byte, error) {
	return get(t, "Value", func() ([]byte, error) { return t.inner.Value(ctx, name) })
}

func (t *faultTx) SetValue(ctx context.Context, name string, value []byte) error {
	return t.do("SetValue", func() error { return t.inner.SetValue(ctx, name, value) })
}

func (t *faultTx) Values(ctx context.Context, prefix string, p store.Page) ([]store.Value, string, error) {
	if err := t.call("Values"); err != nil {
		return nil, "", err
	}
	return t.inner.Values(ctx, prefix, p)
}

func (t *faultTx) Records(ctx context.Context, kind store.RecordKind, p store.Page) ([]store.Record, string, error) {
	if err := t.call("Records"); err != nil {
		return nil, "", err
	}
	return t.inner.Records(ctx, kind, p)
}

func (t *faultTx) PutRecord(ctx context.Context, r store.Record) error {
	return t.do("PutRecord", func() error { return t.inner.PutRecord(ctx, r) })
}
