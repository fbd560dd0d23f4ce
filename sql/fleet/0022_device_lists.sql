-- What a device's lists say, again in its own row, as JSON: who reads a device reads one row, not four trees. device_store_settle() writes them after
-- each change of a list; who looks for devices by a value asks the tables. Names and versions need no escape, attributes have no control characters.
ALTER TABLE device ADD COLUMN attributes TEXT NOT NULL DEFAULT '{}'; -- object, by name
ALTER TABLE device ADD COLUMN tags TEXT NOT NULL DEFAULT '[]';       -- array, in order
ALTER TABLE device ADD COLUMN models TEXT NOT NULL DEFAULT '{}';     -- object: model to version

UPDATE device SET
	attributes = (SELECT '{' || ifnull(group_concat('"' || replace(replace(name, '\', '\\'), '"', '\"') || '":"'
		|| replace(replace(value, '\', '\\'), '"', '\"') || '"'), '') || '}' FROM device_attribute WHERE device = device.id),
	tags = (SELECT '[' || ifnull(group_concat('"' || tag || '"'), '') || ']' FROM device_tag WHERE device = device.id),
	models = (SELECT '{' || ifnull(group_concat('"' || model || '":"' || version || '"'), '') || '}' FROM device_model WHERE device = device.id);
