package marks

// SetMax sets how long a file of lines gets, in bytes.
func (m *Marks) SetMax(n int64) { m.max = n }

// SetEnd sets how much of the files a start reads, in bytes.
func (m *Marks) SetEnd(n int64) { m.end = n }
