package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/seed-357fa782/licensed/internal/adminclient"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

func (p *program) auditVerifyCommand() *cli.Command {
	return &cli.Command{
		Name: "verify", Usage: "check that no entry was changed, removed, added or moved",
		UsageText: "licensectl audit verify [FILE] [--anchors F] [--head SEQ:HASH]… [--part]",
		Description: "Checks FILE, which audit export has written (- is standard input), offline, or, without FILE, the log of the\n" +
			"daemon. Names the first entry that is broken, and how. Without anchors the hashes are checked and no signature is.\n" +
			"Where the end of a log was cut off nothing in it tells: give a --head that was noted elsewhere (audit head).\n" +
			"With --part the --head of the export before is checked too: the part must follow it.\n" +
			"Exits 0 where the log is whole, 1 where it is not, 2 where it or the anchors cannot be used, 4 where there is no FILE.\n\n" +
			"Examples:\n  licensectl audit verify\n" +
			"  licensectl audit export >audit.jsonl && licensectl audit verify audit.jsonl --anchors anchors.json",
		Flags: []cli.Flag{
			anchorsFlag(),
			&cli.StringSliceFlag{Name: "head", Usage: "the log must hold this entry with this hash, `SEQ:HASH`; may be given several times"},
			&cli.BoolFlag{Name: "part", Usage: "accept a log that begins after its first entry, as audit export --since writes it"},
			outputFlag(formTable, formJSON),
		},
		Action: p.auditVerify,
	}
}

// auditVerdict is what audit verify found, and its json form.
type auditVerdict struct {
	Whole       bool                 `json:"whole"`
	Entries     int64                `json:"entries"`
	First       int64                `json:"first"` // position of the first entry, 0 where there is none
	Head        adminwire.AuditHead  `json:"head"`
	Erased      int64                `json:"erased"`
	Checkpoints int64                `json:"checkpoints"`
	Revoked     int64                `json:"revoked_checkpoints"`
	Signatures  string               `json:"signatures"` // verified, or unchecked where there are no anchors
	Signed      *adminwire.AuditHead `json:"signed"`     // what the newest checkpoint signs
	SignedAt    string               `json:"signed_at,omitempty"`
	Restores    int64                `json:"restores"` // entries that say that the store was restored
	Fault       *auditFault          `json:"fault"`    // the first
}

// auditFault is the first fault of a log; line and entry are 0 where it is at none.
type auditFault struct {
	Kind   license.AuditFaultKind `json:"kind"`
	Line   int64                  `json:"line"`
	Seq    int64                  `json:"seq"`
	Detail string                 `json:"detail"`
}

// The values of auditVerdict.Signatures.
const (
	signaturesVerified  = "verified"
	signaturesUnchecked = "unchecked"
)

func (p *program) auditVerify(c *cli.Context) error {
	name := c.Args().First()
	if c.NArg() > 1 {
		return usagef("verify does not know what to do with %q; see %s --help", c.Args().Get(1), commandName(c))
	}
	f, err := form(c, formTable, formJSON)
	if err != nil {
		return err
	}
	v, err := readAuditVerifier(c)
	if err != nil {
		return err
	}
	progress := p.progress("%d entries")
	v.Progress = func(n int64) { progress.show(n) }
	report, err := p.verifyAudit(c, v, name)
	progress.done()
	var fault *license.AuditFault
	if err != nil && !errors.As(err, &fault) {
		return err
	}
	out := newAuditVerdict(v, report, fault)
	if f == formJSON {
		err = writeJSON(p.out, out)
	} else {
		err = p.printAuditVerdict(out, report.Restored)
	}
	if err == nil && fault != nil {
		return &statusError{status: exitFailed, text: "the audit log is not whole: " + fault.Error()}
	}
	return err
}

// readAuditVerifier reads what a log is verified by. That there are no anchors where
// they lie by default is no error.
func readAuditVerifier(c *cli.Context) (token.AuditVerifier, error) {
	v := token.AuditVerifier{Part: c.Bool("part")}
	for _, s := range c.StringSlice("head") {
		h, err := license.ParseAuditHead(s)
		if err != nil {
			return v, usagef("--head %q is not of the form SEQ:HASH, as audit head prints it", s)
		}
		v.Heads = append(v.Heads, h)
	}
	path := c.String("anchors")
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) && !c.IsSet("anchors") {
		return v, nil
	}
	var err error
	v.Anchors, err = loadAnchors(path)
	return v, err
}

// verifyAudit verifies a file, standard input, or the daemon's log.
func (p *program) verifyAudit(c *cli.Context, v token.AuditVerifier, name string) (token.AuditReport, error) {
	switch name {
	case "":
		return p.verifyDaemonAudit(c, v)
	case "-":
		return v.Verify(c.Context, p.in)
	}
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return token.AuditReport{}, notFoundf("there is no file %s", name)
	}
	if err != nil {
		return token.AuditReport{}, usagef("the file cannot be read: %v", err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return token.AuditReport{}, usagef("%s is a folder", shown(name))
	}
	return v.Verify(c.Context, f)
}

// verifyDaemonAudit verifies the daemon's log, which must go at least as far as the
// daemon says that it does.
func (p *program) verifyDaemonAudit(c *cli.Context, v token.AuditVerifier) (token.AuditReport, error) {
	admin, err := p.connect(c)
	if err != nil {
		return token.AuditReport{}, err
	}
	state, err := admin.AuditState(c.Context)
	if err != nil {
		return token.AuditReport{}, err
	}
	head, err := license.ParseAuditHead(state.Head.String())
	if err != nil {
		return token.AuditReport{}, fmt.Errorf("read the daemon's head: %w", err)
	}
	// A head that was given for the same entry says more: it comes from elsewhere.
	if !slices.ContainsFunc(v.Heads, func(h license.AuditHead) bool { return h.Seq == head.Seq }) {
		v.Heads = append(v.Heads, head)
	}
	ctx, cancel := context.WithCancel(c.Context)
	defer cancel()
	r, w := io.Pipe()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, err := exportLines(ctx, admin, adminclient.EventOptions{}, w, nil)
		w.CloseWithError(err)
	}()
	report, err := v.Verify(ctx, r)
	cancel()
	_ = r.Close() // has the other side end
	<-ended
	return report, err
}

// exportLines writes the log as it is kept, and says how many entries that were.
func exportLines(ctx context.Context, admin *adminclient.Client, o adminclient.EventOptions, out io.Writer, show func(total int)) (total int, err error) {
	counted := &lineCounter{w: out, show: show}
	err = admin.ExportEvents(ctx, o, counted)
	return counted.total, err
}

// lineCounter counts the lines that pass.
type lineCounter struct {
	w     io.Writer
	total int
	show  func(total int) // nil: nobody watches
}

func (l *lineCounter) Write(data []byte) (int, error) {
	n, err := l.w.Write(data)
	if l.total += bytes.Count(data[:n], []byte{'\n'}); l.show != nil {
		l.show(l.total)
	}
	if err != nil {
		err = fmt.Errorf("write the entries: %w", err)
	}
	return n, err
}

func newAuditVerdict(v token.AuditVerifier, r token.AuditReport, fault *license.AuditFault) auditVerdict {
	out := auditVerdict{
		Whole: fault == nil, Entries: r.Entries, First: r.First, Head: adminwire.NewAuditHead(r.Head), Erased: r.Erased,
		Checkpoints: r.Checkpoints, Revoked: r.Revoked, Restores: r.Restores, Signatures: signaturesVerified,
	}
	if len(v.Anchors) == 0 {
		out.Signatures = signaturesUnchecked
	}
	if r.Signed.Seq > 0 {
		head := adminwire.NewAuditHead(r.Signed)
		out.Signed, out.SignedAt = &head, when(&r.SignedAt, "")
	}
	if fault != nil {
		out.Fault = &auditFault{Kind: fault.Kind, Line: fault.Line, Seq: fault.Seq, Detail: fault.Detail}
	}
	return out
}

// printAuditVerdict says what was found. A fault is said by the error.
func (p *program) printAuditVerdict(v auditVerdict, restored token.AuditRestore) error {
	if !v.Whole {
		return nil
	}
	if v.Entries == 0 {
		return p.say("there is no entry")
	}
	text := fmt.Sprintf("%s whole: the chain holds from entry %d to %d", count(int(v.Entries), "entry is", "entries are"), v.First, v.Head.Seq)
	if v.Erased > 0 {
		text += fmt.Sprintf("; of %d the personal data was erased, as the log says", v.Erased)
	}
	if err := p.say("%s", text); err != nil {
		return err
	}
	if err := p.say("head: %s", v.Head); err != nil {
		return err
	}
	if v.Signed != nil {
		if err := p.say("signed up to entry %d on %s (%s)", v.Signed.Seq, v.SignedAt, count(int(v.Checkpoints), "checkpoint", "checkpoints")); err != nil {
			return err
		}
	}
	switch {
	case v.Signatures == signaturesUnchecked:
		p.note("signatures were NOT checked: there are no anchors; name them by --anchors")
	case v.Signed == nil:
		p.note("nothing of it is signed: there is no checkpoint by a key that is still trusted; see licensectl audit checkpoint")
	}
	if v.Restores > 0 {
		p.note("the store was restored from a backup %s, last by entry %d: what was logged between the backup and that, up to entry %d at least, is only in exports from before",
			count(int(v.Restores), "time", "times"), restored.Seq, restored.Until)
	}
	if v.Revoked > 0 {
		p.note("%s by keys that were revoked since, which prove nothing by themselves", count(int(v.Revoked), "checkpoint is", "checkpoints are"))
	}
	return nil
}
