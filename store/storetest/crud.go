package storetest

import (
	"context"
	"errors"
	"testing"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

func (s suite) licenses(t *testing.T) {
	st := s.open(t)
	l := newLicense("lic_1")
	update(t, st, func(ctx context.Context, tx store.Tx) error { return tx.CreateLicense(ctx, l) })
	wantSame(t, "created", getLicense(t, st, "lic_1"), stored(l, 1))

	view(t, st, func(ctx context.Context, tx store.Tx) error {
		byCode, err := tx.LicenseByCode(ctx, l.Code.Index)
		wantSame(t, "by code", byCode, stored(l, 1))
		return err
	})

	next := stored(l, 1)
	next.Customer, next.Order, next.Instance, next.Holds, next.Machines = "", "", "", license.HoldMerchant, 9
	next.Product = "other"
	next.Features, next.Transfers, next.Heard = nil, nil, license.Heard{}
	next.ActivatedAt, next.RevokedAt, next.RevokeReason = base, base, "fraud"
	update(t, st, func(ctx context.Context, tx store.Tx) error { return tx.UpdateLicense(ctx, next) })
	wantSame(t, "updated", getLicense(t, st, "lic_1"), stored(next, 2))
}

func (s suite) licenseRefused(t *testing.T) {
	st := s.open(t)
	put(t, st, "lic_1", "lic_2")
	one, two := getLicense(t, st, "lic_1"), getLicense(t, st, "lic_2")
	sameCode := newLicense("lic_3")
	sameCode.Code = one.Code
	stale := one
	stale.Revision = 0
	channel, code := one, one
	channel.Channel = "other"
	code.Code.Index = []byte("another")
	tests := map[string]struct {
		do   txFunc
		want license.Reason // empty: any
	}{
		"missing":         {func(ctx context.Context, tx store.Tx) error { _, err := tx.License(ctx, "lic_9"); return err }, license.NotFound},
		"no id":           {func(ctx context.Context, tx store.Tx) error { _, err := tx.License(ctx, ""); return err }, license.NotFound},
		"unknown code":    {func(ctx context.Context, tx store.Tx) error { _, err := tx.LicenseByCode(ctx, []byte("x")); return err }, license.NotFound},
		"no code":         {func(ctx context.Context, tx store.Tx) error { _, err := tx.LicenseByCode(ctx, nil); return err }, license.NotFound},
		"taken id":        {func(ctx context.Context, tx store.Tx) error { return tx.CreateLicense(ctx, one) }, store.Exists},
		"taken code":      {func(ctx context.Context, tx store.Tx) error { return tx.CreateLicense(ctx, sameCode) }, store.Exists},
		"update missing":  {func(ctx context.Context, tx store.Tx) error { return tx.UpdateLicense(ctx, newLicense("lic_9")) }, license.NotFound},
		"stale":           {func(ctx context.Context, tx store.Tx) error { return tx.UpdateLicense(ctx, stale) }, license.Conflict},
		"another channel": {func(ctx context.Context, tx store.Tx) error { return tx.UpdateLicense(ctx, channel) }, ""},
		"another code":    {func(ctx context.Context, tx store.Tx) error { return tx.UpdateLicense(ctx, code) }, ""},
		"another code in place": {func(ctx context.Context, tx store.Tx) error {
			l, err := tx.License(ctx, "lic_1")
			if err != nil {
				return nil
			}
			l.Code.Index[0] ^= 1
			return tx.UpdateLicense(ctx, l)
		}, ""},
		"empty id":    {func(ctx context.Context, tx store.Tx) error { return tx.CreateLicense(ctx, newLicense("")) }, license.BadRequest},
		"control id":  {func(ctx context.Context, tx store.Tx) error { return tx.CreateLicense(ctx, newLicense("a\x00b")) }, license.BadRequest},
		"id not text": {func(ctx context.Context, tx store.Tx) error { return tx.CreateLicense(ctx, newLicense("a\xff")) }, license.BadRequest},
		"twice in one": {func(ctx context.Context, tx store.Tx) error {
			if err := tx.UpdateLicense(ctx, two); err != nil {
				return err
			}
			return tx.UpdateLicense(ctx, two)
		}, license.Conflict},
		"update of a copy read before": {func(ctx context.Context, tx store.Tx) error {
			// Reading it does not make an older copy good again.
			l, err := tx.License(ctx, "lic_2")
			if err == nil {
				err = tx.UpdateLicense(ctx, l)
			}
			return errors.Join(err, tx.UpdateLicense(ctx, two))
		}, license.Conflict},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			err := st.Update(t.Context(), test.do)
			if err == nil {
				t.Fatal("it was accepted")
			}
			if test.want != "" {
				wantReason(t, err, test.want)
			}
		})
	}
	wantSame(t, "first", getLicense(t, st, "lic_1"), one)
	wantSame(t, "second", getLicense(t, st, "lic_2"), two)
}

func (s suite) installs(t *testing.T) {
	st := s.open(t)
	put(t, st, "lic_1")
	i := newInstall("lic_1", "ins")
	update(t, st, func(ctx context.Context, tx store.Tx) error { return tx.CreateInstall(ctx, i) })
	get := func() (got license.Install) {
		view(t, st, func(ctx context.Context, tx store.Tx) (err error) {
			got, err = tx.Install(ctx, "lic_1", "ins")
			return err
		})
		return got
	}
	i.Revision = 1
	wantSame(t, "created", get(), i)

	next := i.Clone()
	next.State, next.EndedAt, next.Answer = license.InstallRemoved, base, nil
	next.Chain = next.Chain.Next("jti-2", "jti-1", "req-2", []byte{1}, base)
	update(t, st, func(ctx context.Context, tx store.Tx) error { return tx.UpdateInstall(ctx, next) })
	next.Revision = 2
	wantSame(t, "updated", get(), next)
}

func (s suite) installRefused(t *testing.T) {
	st := s.open(t)
	put(t, st, "lic_1", "lic_10")
	i := newInstall("lic_1", "ins")
	update(t, st, func(ctx context.Context, tx store.Tx) error { return tx.CreateInstall(ctx, i) })
	stale := i
	stale.Revision = 0
	tests := map[string]struct {
		do   txFunc
		want license.Reason
	}{
		"missing":         {func(ctx context.Context, tx store.Tx) error { _, err := tx.Install(ctx, "lic_1", "x"); return err }, license.NotFound},
		"another licence": {func(ctx context.Context, tx store.Tx) error { _, err := tx.Install(ctx, "lic_10", "ins"); return err }, license.NotFound},
		"joined ids":      {func(ctx context.Context, tx store.Tx) error { _, err := tx.Install(ctx, "lic_1/ins", ""); return err }, license.NotFound},
		"taken":           {func(ctx context.Context, tx store.Tx) error { return tx.CreateInstall(ctx, i) }, store.Exists},
		"stale":           {func(ctx context.Context, tx store.Tx) error { return tx.UpdateInstall(ctx, stale) }, license.Conflict},
		"update missing":  {func(ctx context.Context, tx store.Tx) error { return tx.UpdateInstall(ctx, newInstall("lic_1", "x")) }, license.NotFound},
		"twice in one": {func(ctx context.Context, tx store.Tx) error {
			i, err := tx.Install(ctx, "lic_1", "ins")
			return errors.Join(err, tx.UpdateInstall(ctx, i), tx.UpdateInstall(ctx, i))
		}, license.Conflict},
		"no licence": {func(ctx context.Context, tx store.Tx) error { return tx.CreateInstall(ctx, newInstall("lic_9", "x")) }, license.NotFound},
		"empty id":   {func(ctx context.Context, tx store.Tx) error { return tx.CreateInstall(ctx, newInstall("lic_1", "")) }, license.BadRequest},
		"control id": {func(ctx context.Context, tx store.Tx) error { return tx.CreateInstall(ctx, newInstall("lic_1", "\n")) }, license.BadRequest},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { wantReason(t, st.Update(t.Context(), test.do), test.want) })
	}
	update(t, st, func(ctx context.Context, tx store.Tx) error {
		i, err := tx.Install(ctx, "lic_1", "ins")
		if err != nil {
			return err
		}
		for ; i.Revision < 4; i.Revision++ {
			if err := tx.UpdateInstall(ctx, i); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s suite) pending(t *testing.T) {
	st := s.open(t)
	index := []byte{0, 1, 255}
	first := license.Pending{Channel: "koogallery", CodeIndex: index, Last4: "abcd", FirstAt: base, LastAt: base, Messages: 1}
	get := func(channel string) (got license.Pending, err error) {
		err = st.View(t.Context(), func(ctx context.Context, tx store.Tx) (err error) {
			got, err = tx.Pending(ctx, channel, index)
			return err
		})
		return got, err
	}
	_, err := get("koogallery")
	wantReason(t, err, license.NotFound)
	second := first
	second.ExpiresAt, second.Frozen, second.ReleasedAt, second.Messages = base, true, base, 2
	second.Heard = license.Heard{Expiry: 1, Hold: base.UnixMilli() + 7}
	second.Order, second.Line, second.Instance, second.License = "CS1", "CS1-000001", "inst-1", "lic_1"
	for _, p := range []license.Pending{first, second} {
		update(t, st, func(ctx context.Context, tx store.Tx) error { return tx.PutPending(ctx, p) })
		got, err := get("koogallery")
		if err != nil {
			t.Fatal(err)
		}
		wantSame(t, "pending", got, p)
	}
	_, err = get("other")
	wantReason(t, err, license.NotFound)
	for range 2 { // the second time there is none
		update(t, st, func(ctx context.Context, tx store.Tx) error { return tx.DeletePending(ctx, "koogallery", index) })
	}
	_, err = get("koogallery")
	wantReason(t, err, license.NotFound)
}

func (s suite) values(t *testing.T) {
	st := s.open(t)
	get := func(name string) (got []byte, err error) {
		err = st.View(t.Context(), func(ctx context.Context, tx store.Tx) (err error) {
			got, err = tx.Value(ctx, name)
			return err
		})
		return got, err
	}
	_, err := get("clock")
	wantReason(t, err, license.NotFound)
	for _, v := range [][]byte{[]byte("1"), {}, {0, 255}, {0, 255}} {
		update(t, st, func(ctx context.Context, tx store.Tx) error { return tx.SetValue(ctx, "clock", v) })
		got, err := get("clock")
		if err != nil {
			t.Fatal(err)
		}
		wantSame(t, "value", got, v)
	}
	for range 2 {
		update(t, st, func(ctx context.Context, tx store.Tx) error { return tx.SetValue(ctx, "clock", nil) })
		_, err = get("clock")
		wantReason(t, err, license.NotFound)
	}
	err = st.Update(t.Context(), func(ctx context.Context, tx store.Tx) error { return tx.SetValue(ctx, "", []byte("x")) })
	wantReason(t, err, license.BadRequest)
}

// valueList checks that the values of a prefix are listed, page by page.
func (s suite) valueList(t *testing.T) {
	st := s.open(t)
	update(t, st, func(ctx context.Context, tx store.Tx) error {
		for _, name := range []string{"b", "a/2", "a/1", "a", "a/10", "a0", "ä/1"} {
			if err := tx.SetValue(ctx, name, []byte("of "+name)); err != nil {
				return err
			}
		}
		return tx.SetValue(ctx, "a/2", nil)
	})
	for prefix, want := range map[string][]string{
		"a/": {"a/1", "a/10"}, "a": {"a", "a/1", "a/10", "a0"}, "": {"a", "a/1", "a/10", "a0", "b", "ä/1"}, "c": nil, "ä": {"ä/1"},
	} {
		for _, limit := range []int{0, 1, 2} {
			var got []string
			view(t, st, func(ctx context.Context, tx store.Tx) error {
				for p := (store.Page{Limit: limit}); ; {
					values, next, err := tx.Values(ctx, prefix, p)
					if err != nil {
						return err
					}
					for _, v := range values {
						if string(v.Data) != "of "+v.Name {
							t.Errorf("the value of %q is %q", v.Name, v.Data)
						}
						got = append(got, v.Name)
					}
					if p.Cursor = next; next == "" {
						return nil
					}
				}
			})
			wantSame(t, "names", got, want)
		}
	}
	view(t, st, func(ctx context.Context, tx store.Tx) error {
		_, _, err := tx.Values(ctx, "a", store.Page{Cursor: "x"})
		wantReason(t, err, license.BadRequest)
		return nil
	})
}

// copies checks that neither what was given nor what came back is shared.
func (s suite) copies(t *testing.T) {
	st := s.open(t)
	l, i, e := newLicense("lic_1"), newInstall("lic_1", "ins"), newEvent(license.ActionIssue, "lic_1")
	j := newJob("job_1", "k")
	value := []byte("value")
	spoil := func(l license.License, i license.Install, e license.AuditEvent, j license.Job, value []byte) {
		l.Code.Index[0], l.Code.Sealed[0], l.Transfers[0] = 'X', 'X', base.AddDate(9, 0, 0)
		l.Features["export"] = license.FeatureText("spoilt")
		i.Binding.Salt[0], i.Chain.Digest[0], i.Chain.Older[0], i.Answer[0] = 'X', 'X', 'X', 'X'
		i.Binding.Components[license.KindMAC][0] = "X"
		e.Before["customer"] = "X"
		value[0], j.Payload[2] = 'X', 'X'
	}
	update(t, st, func(ctx context.Context, tx store.Tx) error {
		l, i, e, j, value := l.Clone(), i.Clone(), newEvent(license.ActionIssue, "lic_1"), j.Clone(), append([]byte{}, value...)
		err := errors.Join(tx.CreateLicense(ctx, l), tx.CreateInstall(ctx, i), tx.CreateJob(ctx, j), tx.SetValue(ctx, "v", value))
		_, appendErr := tx.Append(ctx, e)
		spoil(l, i, e, j, value)
		return errors.Join(err, appendErr)
	})
	for range 2 {
		view(t, st, func(ctx context.Context, tx store.Tx) error {
			gotL, err1 := tx.License(ctx, "lic_1")
			gotI, err2 := tx.Installs(ctx, "lic_1")
			gotE, _, err3 := tx.Events(ctx, store.EventFilter{}, store.Page{})
			gotV, err4 := tx.Value(ctx, "v")
			gotJ, _, err5 := tx.DueJobs(ctx, base, 0)
			if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
				return err
			}
			wantSame(t, "jobs", plain(gotJ...), []license.Job{asStored(j, 1)})
			wantSame(t, "licence", gotL, stored(l, 1))
			want := i
			want.Revision, e.Seq = 1, 1
			wantSame(t, "installs", gotI, []license.Install{want})
			wantSame(t, "events", gotE, []license.AuditEvent{e})
			wantSame(t, "value", gotV, value)
			spoil(gotL, gotI[0], gotE[0], gotJ[0], gotV)
			return nil
		})
	}
}

// answerBytes checks that the answer comes back byte for byte: it is signed again.
func (s suite) answerBytes(t *testing.T) {
	st := s.open(t)
	put(t, st, "lic_1")
	answer := "{ \"a\": \"<&>\",\n\t\"b\" : 1.50,\r\n \"c\":\"\u2028ü\", \"a\\u0041\": [ ] }\n"
	i := newInstall("lic_1", "ins")
	i.Answer = []byte(answer)
	update(t, st, func(ctx context.Context, tx store.Tx) error { return tx.CreateInstall(ctx, i) })
	view(t, st, func(ctx context.Context, tx store.Tx) error {
		got, err := tx.Install(ctx, "lic_1", "ins")
		if string(got.Answer) != answer {
			t.Errorf("answer is %q, want %q", got.Answer, answer)
		}
		return err
	})
}
