-- What hangs on a user is deleted by project and user (rows.proto, @of User).
CREATE INDEX login_id_user ON login_id (project_id, user_id);
