// Package core is what the functions of the C library mean, without C: handles
// and what they stand for, numbers for words, errors with their texts.
//
// Functions take and return what Go has for the arguments of licensed.h. What
// they return as an error, Describe makes a code and texts.
package core

import (
	"context"
	"errors"
	"time"
	"unicode/utf8"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/client/fingerprint"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// Limits of what the caller hands in, in bytes.
const (
	MaxText = token.MaxToken // one text, such as the anchors or a name
	MaxFile = token.MaxFile  // a licence file
)

// Bits of Options.Flags.
const (
	AllowPlain = 1 << iota
	InMemory
	Manual
	KeepSeat

	allFlags = AllowPlain | InMemory | Manual | KeepSeat
)

// Options are licensed_options.
type Options struct {
	Anchors, Product, Issuer, Keys string
	Server, StateDir               string
	Code, Instance, CAFile         string

	TimeoutMS, BuildTime int64
	Flags                uint32
}

// mostMS is the longest time that Go can wait, in milliseconds.
const mostMS = int64(1<<63-1) / int64(time.Millisecond)

func (o Options) anchors() (token.Anchors, error) {
	if o.Anchors == "" {
		return nil, usage("anchors", "no anchors are set")
	}
	if o.Product == "" {
		return nil, usage("product", "no product is set")
	}
	return client.ParseAnchors([]byte(o.Anchors))
}

// Open opens an install and returns its handle.
func Open(o Options) (uint64, error) {
	anchors, err := o.anchors()
	if err != nil {
		return 0, err
	}
	if o.Flags&^allFlags != 0 {
		return 0, usage("flags", "a bit is set that this library does not know")
	}
	if o.TimeoutMS < 0 || o.TimeoutMS > mostMS {
		return 0, usage("timeout_ms", "the timeout is negative, or too long")
	}
	opts := client.Options{
		Anchors: anchors, Product: o.Product, Issuer: o.Issuer, Keys: o.Keys,
		Server: o.Server, AllowPlain: o.Flags&AllowPlain != 0,
		StateDir: o.StateDir, Code: o.Code, Instance: o.Instance, CAFile: o.CAFile,
		Manual: o.Flags&Manual != 0, KeepSeat: o.Flags&KeepSeat != 0,
		Timeout: time.Duration(o.TimeoutMS) * time.Millisecond,
	}
	if o.BuildTime != 0 {
		opts.BuildTime = instant(o.BuildTime)
	}
	if o.Flags&InMemory != 0 {
		opts.Cache = &client.MemoryCache{}
	}
	g, err := client.Open(context.Background(), opts)
	if err != nil {
		return 0, err
	}
	return handles.add(g), nil
}

// Verify verifies a licence file and returns the handle of the licence.
func Verify(o Options, file []byte) (uint64, error) {
	anchors, err := o.anchors()
	if err != nil {
		return 0, err
	}
	v := client.Verifier{Anchors: anchors, Product: o.Product, Issuer: o.Issuer, Keys: o.Keys}
	l, err := v.Verify(file)
	if err != nil {
		return 0, err
	}
	return handles.add(l), nil
}

// Close ends what a handle stands for. Once it has returned, the handle stands
// for nothing any more.
func Close(handle uint64) Code {
	switch v := handles.remove(handle).(type) {
	case *client.Guard:
		if err := v.Close(); err != nil {
			return CodeOf(err)
		}
		return OK
	case *client.License:
		return OK
	}
	return ErrHandle
}

// With calls a function with the guard of a handle. What fails because the
// handle was closed meanwhile is ErrClosed.
func With(handle uint64, f func(*client.Guard) error) error {
	g, ok := guardOf(handle)
	if !ok {
		return UnknownHandle()
	}
	err := f(g)
	if _, there := guardOf(handle); err != nil && !there {
		return &Failure{Code: ErrClosed, Detail: "the licence was let go of while it was used", Cause: err}
	}
	return err
}

// StatusOf is where an install stands now.
func StatusOf(handle uint64) (client.Status, Code) {
	g, ok := guardOf(handle)
	if !ok {
		return client.Status{}, ErrHandle
	}
	return g.Status(), OK
}

// StatusAt is where a licence stands at an instant.
func StatusAt(handle uint64, now int64) (client.Status, Code) {
	l, ok := licenseOf(handle)
	if !ok {
		return client.Status{}, ErrHandle
	}
	return l.Check(instant(now)), OK
}

// instant is the time of a number from the caller, within what licences know.
func instant(now int64) time.Time {
	most := license.Forever.Unix()
	return time.Unix(min(max(now, -most), most), 0)
}

// Text is the text that a feature is, or ErrNoValue.
func Text(f license.Feature) (string, error) {
	if text, ok := f.Text(); ok {
		return text, nil
	}
	return "", &Failure{Code: ErrNoValue, Detail: "the feature is not there now, or is no text"}
}

// Request makes a request file; op is a LICENSED_OP_.
func Request(g *client.Guard, op int32, code, from string) (string, error) {
	ops := [...]client.Op{client.OpActivate, client.OpRefresh, client.OpTransfer, client.OpDeactivate}
	if op < 1 || int(op) > len(ops) {
		return "", usage("op", "a request is to activate, refresh, transfer or deactivate")
	}
	file, err := g.Request(context.Background(), ops[op-1], client.RequestOptions{Code: code, From: from})
	return string(file), err
}

// Activate is Guard.Activate. What ends it, and the others, early is Close.
func Activate(g *client.Guard, code string) error { return g.Activate(context.Background(), code) }

// Transfer is Guard.Transfer.
func Transfer(g *client.Guard, code, from string) error {
	return g.Transfer(context.Background(), code, from)
}

// Refresh is Guard.Refresh.
func Refresh(g *client.Guard) error { return g.Refresh(context.Background()) }

// RefreshStatus is Guard.RefreshStatus.
func RefreshStatus(g *client.Guard) error { return g.RefreshStatus(context.Background()) }

// Deactivate is Guard.Deactivate.
func Deactivate(g *client.Guard) error { return g.Deactivate(context.Background()) }

// File is what an install holds, as a licence file.
func File(g *client.Guard) (string, error) {
	file := g.File()
	if file == nil {
		return "", license.Errorf(license.NoLicense, "this install holds no licence")
	}
	return string(file), nil
}

// ExplainLicense compares this machine with the one of a licence.
func ExplainLicense(handle uint64) (client.Explanation, error) {
	l, ok := licenseOf(handle)
	if !ok {
		return client.Explanation{}, UnknownHandle()
	}
	machine, err := fingerprint.Collect(context.Background())
	if err != nil {
		return client.Explanation{}, err
	}
	return l.Explain(machine), nil
}

// CheckText says what is wrong with a text from the caller.
func CheckText(name, text string) error {
	if !utf8.ValidString(text) {
		return usage(name, "it is no UTF-8")
	}
	return nil
}

// Refuse is the error of an argument that cannot be used.
func Refuse(name, what string) error { return usage(name, what) }

// Guarded calls a function and makes an error of its panic.
func Guarded(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = Fault(r)
		}
	}()
	return f()
}

// errFault is wrapped by what Fault makes.
var errFault = errors.New("a defect of the library")
