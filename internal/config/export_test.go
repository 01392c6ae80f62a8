package config

// Parse is Load of a file named name, in dir, with the given content.
func Parse(name, dir string, data []byte) (Config, error) {
	c := defaults()
	if err := c.decodeFile(name, data); err != nil {
		return Config{}, err
	}
	c.complete(dir)
	return c, c.validate()
}
