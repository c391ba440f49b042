export type View = 'transfers' | 'library' | 'services' | 'settings';

/** Which page is open, and what on it should get the focus. */
class Navigation {
  view = $state<View>('transfers');
  /** A service whose key field should open. */
  keyFor = $state<string | null>(null);
  /** A service whose card should be brought into sight. */
  service = $state<string | null>(null);
  palette = $state(false);
  shortcuts = $state(false);

  go(view: View) {
    this.view = view;
    this.service = null;
    this.keyFor = null;
  }

  goToService(id: string) {
    this.view = 'services';
    this.service = id;
    this.keyFor = null;
  }

  enterKey(id: string) {
    this.view = 'services';
    this.service = id;
    this.keyFor = id;
  }
}

export const navigation = new Navigation();
