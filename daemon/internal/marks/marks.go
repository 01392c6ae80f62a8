// Package marks keeps, in files beside the store, what a store that is restored
// from a backup has to be told: how far its audit log had come, what was done
// since, the status lists, and the clock.
//
// marks.jsonl has a line for each change, appended: those that take something
// away before anybody is told of them, the others within seconds. When it is
// long it becomes marks.1.jsonl, and what that held is dropped. marks.json has
// what changes all the time, written every few seconds. Both lag behind the store
// and are never ahead of what it has on disk.
//
// They hold no secret. Who can change them can have a store look restored, or
// hide that it is.
package marks

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/internal/durable"
	"github.com/seed-357fa782/licensed/store"
)

const (
	stateName  = "marks.json"
	lineName   = "marks.jsonl"
	olderName  = "marks.1.jsonl"
	form       = 1
	maxLine    = 64 << 10
	defaultMax = 64 << 20 // bytes of one file of lines
	maxUnsaved = 16 << 20 // bytes of lines that could not be written
	defaultEnd = 1 << 20  // bytes at the end of the lines that a start reads
)

// List is how new a status list was.
type List struct {
	ID       string    `json:"id"`
	SignedAt time.Time `json:"signed_at"` // its newest iat
}

// State is what changes all the time.
type State struct {
	Form  int        `json:"form"`
	Head  store.Head `json:"head"` // newest entry of the audit log
	Clock time.Time  `json:"clock,omitzero"`
	Lists []List     `json:"lists,omitzero"`
}

// header is the first line of a file of lines.
type header struct {
	Marks int   `json:"marks"`
	From  int64 `json:"from"` // every change behind this position has a line from here on
}

// Marks are the files in one folder. It is safe for concurrent use.
type Marks struct {
	dir    string
	failed func(error)
	max    int64
	end    int64

	mu      sync.Mutex
	file    *os.File
	size    int64
	newest  int64  // position of the newest line
	unsaved []byte // lines that could not be written
	dirty   bool   // lines are written and not synced
	failing bool
	state   State
	begun   bool
}

// Open reads the files in dir, which may be missing: then marks begin behind the
// position that Begin is told. failed is told when marks cannot be
// written any more, and with nil when they can again.
func Open(dir string, failed func(error)) (*Marks, error) {
	m := &Marks{dir: dir, failed: failed, max: defaultMax, end: defaultEnd}
	raw, err := os.ReadFile(m.path(stateName))
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("read the marks: %w", err)
	default:
		if err := json.Unmarshal(raw, &m.state); err != nil || m.state.Form < 1 {
			return nil, m.damaged(stateName, "line 1")
		}
		if m.state.Form > form {
			return nil, fmt.Errorf("%s has form %d, and this program knows %d; please use a newer version", m.path(stateName), m.state.Form, form)
		}
	}
	return m, nil
}

func (m *Marks) path(name string) string { return filepath.Join(m.dir, name) }

func (m *Marks) damaged(name, where string) error {
	return fmt.Errorf("%s of %s cannot be read: the marks are damaged; put back a copy, or delete the files marks*.json* to go on without, "+
		"and a store that is restored then cannot be told what it lost", where, m.path(name))
}

// State returns what marks.json said.
func (m *Marks) State() State {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.state
	s.Lists = slices.Clone(s.Lists)
	return s
}

// Lines returns all marks that there are, oldest first, and the position behind
// which none is missing; -1 where there never were any.
func (m *Marks) Lines() (lines []authority.Mark, from int64, err error) {
	from = -1
	for _, name := range []string{olderName, lineName} {
		p, err := m.read(name, 0)
		if err != nil {
			return nil, 0, err
		}
		if p.from >= 0 && (from < 0 || p.from < from) {
			from = p.from
		}
		lines = append(lines, p.lines...)
	}
	return inOrder(lines), from, nil
}

// Recent returns the newest marks, as Lines does, and whether there are older ones.
// It reads no more than a part of the files, however long they are.
func (m *Marks) Recent() (lines []authority.Mark, older bool, err error) {
	newer, err := m.read(lineName, m.end)
	if err != nil || newer.cut {
		return inOrder(newer.lines), newer.cut, err
	}
	p, err := m.read(olderName, m.end)
	return inOrder(append(p.lines, newer.lines...)), p.cut, err
}

// inOrder sorts marks: changes of one moment can be noted in another order, and
// twice after a crash.
func inOrder(lines []authority.Mark) []authority.Mark {
	slices.SortStableFunc(lines, func(a, b authority.Mark) int {
		return cmp.Or(cmp.Compare(a.Seq, b.Seq), cmp.Compare(btoi(b.Past), btoi(a.Past)))
	})
	return slices.CompactFunc(lines, func(a, b authority.Mark) bool { return a.Seq == b.Seq && !a.Past && !b.Past })
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// part is what was read of a file of lines.
type part struct {
	lines []authority.Mark
	from  int64 // -1 where there is no file
	whole int64 // bytes up to which it is whole: a crash can leave half a line at its end
	cut   bool  // there are lines before these
}

// read reads one file of lines, or no more than the last end bytes of it.
func (m *Marks) read(name string, end int64) (p part, err error) {
	p.from = -1
	f, err := os.Open(m.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return p, fmt.Errorf("read the marks: %w", err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	in := bufio.NewReaderSize(f, maxLine)
	for n := 1; ; n++ {
		raw, err := in.ReadSlice('\n')
		where := fmt.Sprintf("line %d", n)
		if p.cut {
			where = fmt.Sprintf("the line at byte %d", p.whole)
		}
		switch {
		case errors.Is(err, io.EOF):
			return p, nil // what stands here was never finished
		case err != nil:
			return p, m.damaged(name, where)
		}
		p.whole += int64(len(raw))
		if n == 1 {
			var h header
			if err := json.Unmarshal(raw, &h); err != nil || h.Marks != form {
				return p, m.damaged(name, where)
			}
			p.from = h.From
			if err := p.skip(f, in, end); err != nil {
				return p, fmt.Errorf("read the marks: %w", err)
			}
			continue
		}
		var l authority.Mark
		if err := json.Unmarshal(raw, &l); err != nil || l.Seq < 1 {
			return p, m.damaged(name, where)
		}
		p.lines = append(p.lines, l)
	}
}

// skip goes on to the first line within the last end bytes of f, where there are more.
func (p *part) skip(f *os.File, in *bufio.Reader, end int64) error {
	info, err := f.Stat()
	if err != nil || end == 0 || info.Size()-p.whole <= end {
		return err
	}
	p.whole, p.cut = info.Size()-end, true
	if _, err := f.Seek(p.whole, io.SeekStart); err != nil {
		return err
	}
	in.Reset(f)
	for {
		raw, err := in.ReadSlice('\n')
		p.whole += int64(len(raw))
		if err == nil || !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
}

// Begin opens the file for new lines. Where there is none yet it begins behind
// position from. What was noted before is dropped: the caller notes what is missing
// behind the position that is returned.
func (m *Marks) Begin(from int64) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.begun, m.unsaved = true, nil
	p, err := m.read(lineName, m.end)
	if err != nil {
		return 0, err
	}
	if p.from < 0 {
		return from, m.create(from)
	}
	f, err := os.OpenFile(m.path(lineName), os.O_WRONLY, 0o600)
	if err != nil {
		return 0, fmt.Errorf("open the marks: %w", err)
	}
	if err := f.Truncate(p.whole); err != nil {
		return 0, errors.Join(fmt.Errorf("open the marks: %w", err), f.Close())
	}
	m.file, m.size, m.newest = f, p.whole, p.from
	for _, l := range p.lines {
		m.newest = max(m.newest, l.Seq)
	}
	older, err := m.read(olderName, 1) // of which only the first line is wanted
	if err == nil && older.from >= 0 {
		p.from = min(p.from, older.from)
	}
	return p.from, err
}

// Reset begins anew with the lines of a history that is another one from there on:
// none is missing behind position from.
func (m *Marks) Reset(from int64, lines []authority.Mark, head store.Head) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	first, err := json.Marshal(header{form, from})
	if err != nil {
		return err
	}
	rest, err := encode(lines)
	if err != nil {
		return err
	}
	data := slices.Concat(first, []byte{'\n'}, rest)
	// First what says that the store is behind, last what says that it is not.
	m.state = State{Form: form, Head: m.state.Head, Clock: m.state.Clock, Lists: m.state.Lists}
	if err := durable.WriteFile(m.path(lineName), data, 0o600); err != nil {
		return err
	}
	if err := os.Remove(m.path(olderName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("begin the marks anew: %w", err)
	}
	m.state.Head = head
	return m.saveState()
}

// create begins a file of lines in the place of the one that there is, under m.mu.
func (m *Marks) create(from int64) error {
	raw, err := json.Marshal(header{form, from})
	if err != nil {
		return err
	}
	raw = append(raw, '\n')
	if err := durable.WriteFile(m.path(lineName), raw, 0o600); err != nil {
		return err
	}
	f, err := os.OpenFile(m.path(lineName), os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the marks: %w", err)
	}
	if m.file != nil {
		_ = m.file.Close() // synced before
	}
	m.file, m.size, m.newest = f, int64(len(raw)), max(from, m.newest)
	return nil
}

// Newest is the position of the newest line.
func (m *Marks) Newest() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.newest
}

// Note appends lines: see authority.Marks.
func (m *Marks) Note(ms []authority.Mark, now bool) {
	out, err := encode(ms)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range ms {
		m.newest = max(m.newest, l.Seq)
	}
	if len(m.unsaved) <= maxUnsaved {
		m.unsaved = append(m.unsaved, out...)
	}
	m.report(errors.Join(err, m.write(now)))
}

// encode writes marks as lines.
func encode(ms []authority.Mark) ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	for _, m := range ms {
		if err := enc.Encode(m); err != nil {
			return out.Bytes(), fmt.Errorf("write the mark of position %d: %w", m.Seq, err)
		}
	}
	return out.Bytes(), nil
}

// write writes what is not yet written, under m.mu. A part of a line that was
// written is taken back.
func (m *Marks) write(sync bool) error {
	switch {
	case m.file == nil && !m.begun:
		return nil
	case m.file == nil:
		return errors.New("the marks are closed")
	}
	if len(m.unsaved) > maxUnsaved { // the disk was full for long: what was noted meanwhile is not known
		if err := m.create(m.newest); err != nil {
			return err
		}
		m.unsaved = nil
	}
	if len(m.unsaved) > 0 {
		if _, err := m.file.WriteAt(m.unsaved, m.size); err != nil {
			return errors.Join(err, m.file.Truncate(m.size))
		}
		m.size += int64(len(m.unsaved))
		m.unsaved, m.dirty = nil, true
	}
	if sync && m.dirty {
		if err := m.file.Sync(); err != nil {
			return err
		}
		m.dirty = false
	}
	return nil
}

// report tells of a failure once, and of its end.
func (m *Marks) report(err error) {
	if (err != nil) != m.failing && m.failed != nil {
		m.failed(err)
	}
	m.failing = err != nil
}

// Save puts everything on disk: the lines, and what changes all the time where
// that has changed. Nothing in s may be ahead of what the store has on disk.
func (m *Marks) Save(s State) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	err := m.save(s)
	m.report(err)
	return err
}

func (m *Marks) save(s State) error {
	if err := m.write(true); err != nil {
		return err
	}
	s.Form = form
	if !same(s, m.state) {
		m.state = s
		if err := m.saveState(); err != nil {
			m.state.Form = 0 // to be written the next time
			return err
		}
	}
	if m.size < m.max {
		return nil
	}
	if err := os.Rename(m.path(lineName), m.path(olderName)); err != nil {
		return err
	}
	return m.create(m.newest)
}

func same(a, b State) bool {
	return a.Form == b.Form && a.Head.Seq == b.Head.Seq && a.Head.Digest == b.Head.Digest && a.Clock.Equal(b.Clock) &&
		slices.EqualFunc(a.Lists, b.Lists, func(x, y List) bool { return x.ID == y.ID && x.SignedAt.Equal(y.SignedAt) })
}

func (m *Marks) saveState() error {
	raw, err := json.Marshal(m.state)
	if err != nil {
		return err
	}
	return durable.WriteFile(m.path(stateName), append(raw, '\n'), 0o600)
}

// Close puts the lines on disk.
func (m *Marks) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.file == nil {
		return nil
	}
	err := errors.Join(m.write(true), m.file.Close())
	m.file = nil
	return err
}
